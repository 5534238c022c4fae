mod name;

pub use name::{InterfaceName, InvalidInterfaceName};
