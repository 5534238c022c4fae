use mimalloc::MiMalloc;

/// A session is begun, served and ended by any of the runtime's threads; the system's allocator would lock and search for
/// what one of them takes and another gives back.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;
