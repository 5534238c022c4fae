//! Builds the store again when a migration was added: the compiler does not know that it reads the folders.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
}
