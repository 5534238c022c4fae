//! Both services in one process, from their libraries, with embedded parts behind the same ports.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use common::chassis::shutdown::Shutdown;
use common::domain::{Clock, SystemClock, VpnNetwork};
use tokio::net::TcpListener;
