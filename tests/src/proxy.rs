//! A TCP proxy that breaks: it stands between the host and a backend, and cuts, stalls
//! or resets what goes through it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the proxy does with connections, the open ones included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Carries every byte.
    Carry,
    /// Resets them, and every new one at once.
    Cut,
    /// Takes them, and carries nothing.
    Stall,
}

/// The proxy. It listens as long as this value lives.
pub struct Proxy {
    port: u16,
    control: Arc<Control>,
    listener: JoinHandle<()>,
}

struct Control {
    upstream: SocketAddr,
    mode: watch::Sender<Mode>,
    accepted: AtomicUsize,
    /// The connection whose client sends the bytes is reset, once.
    trap: Mutex<Option<Trap>>,
}

struct Trap {
    bytes: Vec<u8>,
    then: Then,
}

/// What becomes of the connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// It is reset, and the backend gets nothing.
    Reset,
    /// The backend gets the bytes and works on them; then it is reset.
    ResetAfter,
    /// It stands still, and the backend gets nothing, until the client goes.
    Hold,
}

impl Proxy {
    /// A proxy to a port of the loopback interface, carrying.
    ///
    /// # Panics
    /// When it finds no port.
    pub async fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let upstream = (Ipv4Addr::LOCALHOST, upstream).into();
        let control = Arc::new(Control {
            upstream,
            mode: watch::Sender::new(Mode::Carry),
            accepted: AtomicUsize::new(0),
            trap: Mutex::default(),
        });
        let listener = tokio::spawn(control.clone().listen(listener));
        Self { port, control, listener }
    }

    /// Where it listens, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections that were opened so far, refused ones included.
    pub fn accepted(&self) -> usize {
        self.control.accepted.load(Relaxed)
    }

    /// Carries everything from now on.
    pub fn mend(&self) {
        self.control.mode.send_replace(Mode::Carry);
    }

    /// Resets every connection, and each new one at once, until it is mended.
    pub fn cut(&self) {
        self.control.mode.send_replace(Mode::Cut);
    }

    /// Keeps every connection and takes new ones, but carries nothing until it is mended.
    pub fn stall(&self) {
        self.control.mode.send_replace(Mode::Stall);
    }

    /// Resets the connection whose client sends these bytes next, before they reach the
    /// backend.
    pub fn reset_before(&self, bytes: &[u8]) {
        *self.control.lock_trap() = Some(Trap { bytes: bytes.to_vec(), then: Then::Reset });
    }

    /// Resets the connection whose client sends these bytes next: they reach the backend,
    /// and its answer reaches nobody.
    pub fn reset_after(&self, bytes: &[u8]) {
        *self.control.lock_trap() = Some(Trap { bytes: bytes.to_vec(), then: Then::ResetAfter });
    }

    /// Holds the connection whose client sends these bytes next, before they reach the
    /// backend: for the client it is as if the backend took its time. When the client goes,
    /// so does the connection to the backend.
    pub fn hold_before(&self, bytes: &[u8]) {
        *self.control.lock_trap() = Some(Trap { bytes: bytes.to_vec(), then: Then::Hold });
    }

    /// Whether a connection was reset or held in this way since then.
    pub fn was_sprung(&self) -> bool {
        self.control.lock_trap().is_none()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
        self.cut();
    }
}

impl Control {
    async fn listen(self: Arc<Self>, listener: TcpListener) {
        while let Ok((client, _)) = listener.accept().await {
            self.accepted.fetch_add(1, Relaxed);
            let control = self.clone();
            tokio::spawn(async move { control.serve(client).await });
        }
    }

    async fn serve(&self, mut client: TcpStream) {
        let mut mode = self.mode.subscribe();
        let carried = async {
            // A backend that is gone ends the client's connection, as it would without
            // a proxy.
            let mut backend = TcpStream::connect(self.upstream).await?;
            self.carry(&mut client, &mut backend).await
        };
        tokio::select! {
            _ = carried => {}
            _ = mode.wait_for(|mode| *mode == Mode::Cut) => {}
        }
        // Dropped, it says RST rather than FIN.
        let _ = client.set_zero_linger();
    }

    async fn carry(&self, client: &mut TcpStream, backend: &mut TcpStream) -> std::io::Result<()> {
        let mut mode = self.mode.subscribe();
        let (mut asked, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
        loop {
            tokio::select! {
                read = client.read(&mut asked) => {
                    let bytes = &asked[..read?];
                    if bytes.is_empty() {
                        return Ok(());
                    }
                    unless_stalled(&mut mode).await;
                    match self.springs(bytes) {
                        None => backend.write_all(bytes).await?,
                        Some(Then::Reset) => return Ok(()),
                        Some(Then::ResetAfter) => {
                            backend.write_all(bytes).await?;
                            // The answer comes, so the backend has done its part.
                            let _ = backend.read(&mut answered).await?;
                            return Ok(());
                        }
                        Some(Then::Hold) => {
                            while client.read(&mut asked).await? > 0 {}
                            return Ok(());
                        }
                    }
                }
                read = backend.read(&mut answered) => {
                    let bytes = &answered[..read?];
                    if bytes.is_empty() {
                        return Ok(());
                    }
                    unless_stalled(&mut mode).await;
                    client.write_all(bytes).await?;
                }
            }
        }
    }

    fn springs(&self, sent: &[u8]) -> Option<Then> {
        let met = |trap: &mut Trap| sent.windows(trap.bytes.len()).any(|part| part == trap.bytes);
        self.lock_trap().take_if(met).map(|trap| trap.then)
    }

    fn lock_trap(&self) -> std::sync::MutexGuard<'_, Option<Trap>> {
        self.trap.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn unless_stalled(mode: &mut watch::Receiver<Mode>) {
    // An error means that the proxy is gone, and with it the stall.
    let _ = mode.wait_for(|mode| *mode != Mode::Stall).await;
}
