//! A relay between an SSH client and servers, on loopback: it redirects new connections, and cuts, stalls, delays or falsifies them
//! after so many bytes in either direction.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToServer,
    ToClient,
}

/// What a relay does to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It ends.
    Cut,
    /// Nothing passes that way any more.
    Stall,
    /// What comes next passes so much later.
    Delay(Duration),
    /// One bit of the next byte is another one.
    Flip,
}

/// A fault, and after how many bytes in which direction it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    pub way: Way,
    pub after: u64,
    pub fault: Fault,
}

/// A relay; it ends when this is dropped.
pub struct Relay {
    pub port: u16,
    inner: Arc<Inner>,
    thread: Option<JoinHandle<()>>,
}

struct Inner {
    target: AtomicU16,
    /// What happens to the next connection.
    point: Mutex<Option<Point>>,
    /// How much had passed to the server, and to the client, on the last connection whenever something passed.
    borders: [Mutex<Vec<u64>>; 2],
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
            point: Mutex::default(),
            borders: Default::default(),
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
                let point = relaying.point.lock().expect("a lock").take();
                let twin = |stream: &TcpStream| stream.try_clone().expect("a second handle");
                relaying.open.lock().expect("a lock").extend([twin(&client), twin(&server)]);
                let (from, to) = (twin(&client), twin(&server));
                let (there, back) = (Arc::clone(&relaying), Arc::clone(&relaying));
                std::thread::spawn(move || pass_on(from, to, Way::ToServer, point, &there));
                std::thread::spawn(move || pass_on(server, client, Way::ToClient, point, &back));
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
        self.harm_next(Point { way: Way::ToServer, after: bytes, fault: Fault::Cut });
    }

    /// This happens to the next connection.
    pub fn harm_next(&self, point: Point) {
        *self.inner.point.lock().expect("a lock") = Some(point);
    }

    /// The next connection is let through, and no other fault waits for one any more.
    pub fn harm_nobody(&self) {
        *self.inner.point.lock().expect("a lock") = None;
    }

    /// How much had passed that way on the last connection, whenever something passed.
    pub fn borders(&self, way: Way) -> Vec<u64> {
        self.inner.borders[way as usize].lock().expect("a lock").clone()
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

fn pass_on(mut from: TcpStream, mut to: TcpStream, way: Way, point: Option<Point>, inner: &Inner) {
    let mut buffer = [0; 4096];
    let mut passed = 0;
    let mut point = point.filter(|point| point.way == way);
    inner.borders[way as usize].lock().expect("a lock").clear();
    while let Ok(count) = from.read(&mut buffer) {
        let wall = inner.wall.lock().expect("a lock").clone();
        while wall.as_ref().is_some_and(|wall| wall.exists()) && !inner.ends.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut bytes = &mut buffer[..count];
        if let Some(Point { after, fault, .. }) = point.filter(|point| passed + count as u64 > point.after) {
            point = None;
            let (before, rest) = bytes.split_at_mut((after - passed) as usize);
            if to.write_all(before).is_err() || fault == Fault::Cut {
                break;
            }
            passed = after;
            match fault {
                Fault::Stall => {
                    while from.read(&mut buffer).is_ok_and(|count| count > 0) {}
                    break;
                }
                Fault::Delay(time) => std::thread::sleep(time),
                Fault::Flip => rest[0] ^= 1,
                Fault::Cut => {}
            }
            bytes = rest;
        }
        passed += bytes.len() as u64;
        if count == 0 || to.write_all(bytes).is_err() {
            break;
        }
        inner.borders[way as usize].lock().expect("a lock").push(passed);
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
