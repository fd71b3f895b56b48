//! A relay between an SSH client and servers, on loopback: it redirects new connections, and cuts them after so many bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A relay; it ends when this is dropped.
pub struct Relay {
    pub port: u16,
    inner: Arc<Inner>,
    thread: Option<JoinHandle<()>>,
}

struct Inner {
    target: AtomicU16,
    /// After so many bytes to the server the next connection is cut, once; 0 for never.
    cut_after: AtomicU64,
    /// While this file is there, nothing passes.
    wall: Mutex<Option<PathBuf>>,
    ends: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Relay {
    /// To the server at this port.
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let inner = Arc::new(Inner {
            target: AtomicU16::new(target),
            cut_after: AtomicU64::new(0),
            wall: Mutex::default(),
            ends: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let relaying = Arc::clone(&inner);
        let thread = std::thread::spawn(move || {
            for client in listener.incoming() {
                if relaying.ends.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                let target = relaying.target.load(Ordering::SeqCst);
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let limit = relaying.cut_after.swap(0, Ordering::SeqCst);
                let twin = |stream: &TcpStream| stream.try_clone().expect("a second handle");
                relaying.open.lock().expect("a lock").extend([twin(&client), twin(&server)]);
                let (from, to) = (twin(&client), twin(&server));
                let (there, back) = (Arc::clone(&relaying), Arc::clone(&relaying));
                std::thread::spawn(move || pass_on(from, to, limit, &there));
                std::thread::spawn(move || pass_on(server, client, 0, &back));
            }
        });
        Self { port, inner, thread: Some(thread) }
    }

    /// From now on another server answers; what was connected is cut.
    pub fn turn_to(&self, target: u16) {
        self.inner.target.store(target, Ordering::SeqCst);
        self.cut();
    }

    /// The next connection is cut after so many bytes to the server.
    pub fn cut_next_after(&self, bytes: u64) {
        self.inner.cut_after.store(bytes, Ordering::SeqCst);
    }

    /// While this file is there, nothing passes, as through a firewall that drops.
    pub fn walled_by(&self, file: PathBuf) {
        *self.inner.wall.lock().expect("a lock") = Some(file);
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        for stream in self.inner.open.lock().expect("a lock").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, limit: u64, inner: &Inner) {
    let mut buffer = [0; 4096];
    let mut passed = 0;
    while let Ok(count) = from.read(&mut buffer) {
        let left = if limit == 0 { count } else { count.min((limit - passed) as usize) };
        passed += left as u64;
        let wall = inner.wall.lock().expect("a lock").clone();
        while wall.as_ref().is_some_and(|wall| wall.exists()) && !inner.ends.load(Ordering::SeqCst) {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        if count == 0 || to.write_all(&buffer[..left]).is_err() || (limit != 0 && passed == limit) {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.inner.ends.store(true, Ordering::SeqCst);
        self.cut();
        // It waits for a connection, so it gets one.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
