//! A TCP relay between device and server that counts bytes and can be cut or made deaf.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How late a piece of up to 64 KiB is on a slow connection.
const LATE: Duration = Duration::from_millis(250);

/// What becomes of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They go through.
    Pass,
    /// Nothing goes through, connections stay open: packets are dropped.
    Swallow,
    /// Everything arrives, a quarter of a second late.
    Late,
    /// Connections are closed, new ones too: the server is down.
    Refuse,
    /// The relay ends.
    End,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    streams: Vec<TcpStream>,
    /// Requests with any of these in their first line wait.
    held: Vec<String>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
    sent: AtomicU64,
    received: AtomicU64,
}

/// The relay; it ends when dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

impl Relay {
    /// Listens on a free port and relays to this address.
    ///
    /// # Errors
    /// If no port can be had.
    pub fn start(upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            state: Mutex::new(State { mode: Mode::Pass, streams: Vec::new(), held: Vec::new() }),
            changed: Condvar::new(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
        });
        let for_thread = Arc::clone(&shared);
        let listener = thread::spawn(move || for_thread.listen(&listener));
        Ok(Self { address, shared, listener: Some(listener) })
    }

    /// The URL that a device signs in to.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Decides what becomes of the bytes from now on.
    pub fn set(&self, mode: Mode) {
        self.shared.set(mode);
    }

    /// Requests whose first line holds this text wait from now on; others pass.
    pub fn hold(&self, text: &str) {
        self.shared.lock().held.push(text.to_owned());
    }

    /// Those go on.
    pub fn let_go(&self, text: &str) {
        self.shared.lock().held.retain(|held| held != text);
        self.shared.changed.notify_all();
    }

    /// Bytes from the device to the server so far.
    pub fn sent_bytes(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Bytes from the server to the device so far.
    pub fn received_bytes(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.set(Mode::End);
        // Wakes the listener, which then sees the mode.
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, mode: Mode) {
        let mut state = self.lock();
        state.mode = mode;
        if matches!(mode, Mode::Refuse | Mode::End) {
            state.streams.drain(..).for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        }
        self.changed.notify_all();
    }

    fn listen(self: Arc<Self>, listener: &TcpListener) {
        let mut pumps = Vec::new();
        for client in listener.incoming().flatten() {
            match self.lock().mode {
                Mode::End => break,
                Mode::Refuse => continue,
                Mode::Pass | Mode::Late | Mode::Swallow => {}
            }
            pumps.extend(self.connect(&client).into_iter().flatten());
        }
        pumps.into_iter().for_each(|pump| drop(pump.join()));
    }

    /// Connects one client on, with a thread for each direction.
    fn connect(self: &Arc<Self>, client: &TcpStream) -> io::Result<[JoinHandle<()>; 2]> {
        let server = TcpStream::connect(self.upstream)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        self.lock().streams.extend([client.try_clone()?, server.try_clone()?]);
        let (up, down) = (Arc::clone(self), Arc::clone(self));
        let (from_client, to_server) = (client.try_clone()?, server.try_clone()?);
        let (from_server, to_client) = (server, client.try_clone()?);
        Ok([
            thread::spawn(move || up.pump(from_client, to_server, &up.sent)),
            thread::spawn(move || down.pump(from_server, to_client, &down.received)),
        ])
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream, count: &AtomicU64) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            if !self.may_pass(&buffer[..read]) {
                break;
            }
            // Before they go: whoever has them finds them counted.
            count.fetch_add(read as u64, Ordering::Relaxed);
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }

    /// Waits while bytes are swallowed, late or held; false if they are not to pass any more.
    fn may_pass(&self, bytes: &[u8]) -> bool {
        let line = bytes.split(|byte| *byte == b'\n').next().map(String::from_utf8_lossy).unwrap_or_default();
        let late = self.changed.wait_timeout_while(self.lock(), LATE, |state| state.mode == Mode::Late);
        let state = late.unwrap_or_else(PoisonError::into_inner).0;
        let waits = |state: &mut State| match state.mode {
            Mode::Swallow => true,
            Mode::Pass | Mode::Late => state.held.iter().any(|text| line.contains(text.as_str())),
            Mode::Refuse | Mode::End => false,
        };
        let state = self.changed.wait_while(state, waits);
        matches!(state.unwrap_or_else(PoisonError::into_inner).mode, Mode::Pass | Mode::Late)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A server that sends back what it gets, ten bytes for one.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut byte = [0];
            while let Ok(1) = stream.read(&mut byte) {
                stream.write_all(&[byte[0]; 10]).unwrap();
            }
        });
        address
    }

    #[test]
    fn some_requests_wait_and_others_pass() {
        let relay = Relay::start(echo()).unwrap();
        relay.hold("b ?");
        let mut client = TcpStream::connect(relay.address).unwrap();
        let mut answer = [0; 20];
        client.write_all(b"a\n").unwrap();
        client.read_exact(&mut answer).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        client.write_all(b"b ?\n").unwrap();
        assert!(client.read_exact(&mut answer).is_err());
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        relay.let_go("b ?");
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer[..10], [b'b'; 10]);
    }

    #[test]
    fn bytes_are_counted_held_back_and_cut() {
        let relay = Relay::start(echo()).unwrap();
        let mut client = TcpStream::connect(relay.address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut answer = [0; 10];
        client.write_all(b"a").unwrap();
        client.read_exact(&mut answer).unwrap();
        assert_eq!((relay.sent_bytes(), relay.received_bytes(), answer), (1, 10, [b'a'; 10]));

        relay.set(Mode::Swallow);
        client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        client.write_all(b"b").unwrap();
        assert!(client.read_exact(&mut answer).is_err());
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        relay.set(Mode::Pass);
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [b'b'; 10]);

        relay.set(Mode::Refuse);
        assert_eq!(client.read(&mut answer).unwrap_or(0), 0);
        let mut second = TcpStream::connect(relay.address).unwrap();
        assert_eq!(second.read(&mut answer).unwrap_or(0), 0);
    }
}
