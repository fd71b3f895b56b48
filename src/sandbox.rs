//! Demo hosts: SSH servers in this process, on loopback, each with a home folder of its own. Scripts are really copied to
//! them and run there over SSH; no sshd and no root is needed. Starts processes, and ends every one of them again.
//!
//! A demo host's home begins as a copy of the folder `sandbox` beside the book. If there is a `boot.sh` in it, that is run
//! when the host starts, as a real host starts its services.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Msg, Server as _, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelMsg, Sig};
use russh_sftp::protocol::{Attrs, FileAttributes, Handle, Name, OpenFlags, Status, StatusCode, Version};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use tokio::process::Command;

/// The user of all demo hosts.
const USER: &str = "demo";
/// The folder beside the book whose copy is the home of each of its demo hosts.
const HOME_SOURCE: &str = "sandbox";
/// Marks every process of a demo host, so that all of them can be found at its end.
const MARK: &str = "PISAURA_SANDBOX_HOME";
/// Runs `boot.sh` and, should this process die, ends everything that it started: the pipe on its standard input closes then.
const BOOT: &str =
    "exec 3<&0\n(cat <&3 >/dev/null 2>&1; kill -KILL 0) &\nexec /bin/sh ./boot.sh </dev/null 3<&-\n";

/// The demo hosts of a book; all of them and their processes go when this is dropped.
pub struct Sandboxes {
    folder: PathBuf,
    ports: HashMap<String, u16>,
    booted: Vec<Child>,
    runtime: Option<tokio::runtime::Runtime>,
}

/// How to log in to a demo host.
#[derive(Clone, Debug)]
pub struct SandboxLogin {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The user.
    pub user: String,
    /// The user's private key.
    pub identity_file: PathBuf,
    /// The file that knows the host's key.
    pub known_hosts: PathBuf,
    /// The folder in which the homes of all the book's demo hosts lie, each under its name.
    pub homes: PathBuf,
}

impl Sandboxes {
    /// Starts demo hosts of these names, in a folder of their own. Fails if there is no room, port or process for them.
    pub fn start(names: Vec<String>, book_folder: &Path, folder: &Path) -> io::Result<Self> {
        let user_key = new_key()?;
        write_private(&folder.join("identity"), openssh(&user_key)?.as_bytes())?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let mut sandboxes = Self {
            folder: folder.to_owned(),
            ports: HashMap::new(),
            booted: Vec::new(),
            runtime: Some(runtime),
        };
        let mut known_hosts = String::new();
        for name in names {
            let home = sandboxes.folder.join("homes").join(&name);
            fs::create_dir_all(&home)?;
            let source = book_folder.join(HOME_SOURCE);
            if source.is_dir() {
                copy_folder(&source, &home)?;
            }
            let host_key = new_key()?;
            let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
            listener.set_nonblocking(true)?;
            let port = listener.local_addr()?.port();
            let public = host_key.public_key().to_openssh().map_err(io::Error::other)?;
            known_hosts.push_str(&format!("[127.0.0.1]:{port} {public}\n"));
            sandboxes.serve(listener, &home, host_key, user_key.public_key().clone());
            sandboxes.boot(&home)?;
            sandboxes.ports.insert(name, port);
        }
        fs::write(sandboxes.folder.join("known_hosts"), known_hosts)?;
        Ok(sandboxes)
    }

    /// How to log in to the host of this name.
    pub fn login(&self, name: &str) -> Option<SandboxLogin> {
        let folder = self.folder.as_path();
        self.ports.get(name).map(|&port| SandboxLogin {
            port,
            user: USER.to_owned(),
            identity_file: folder.join("identity"),
            known_hosts: folder.join("known_hosts"),
            homes: folder.join("homes"),
        })
    }

    fn serve(&self, listener: std::net::TcpListener, home: &Path, host_key: PrivateKey, user_key: PublicKey) {
        let config = Arc::new(russh::server::Config {
            auth_rejection_time: Duration::ZERO,
            keys: vec![host_key],
            nodelay: true,
            ..Default::default()
        });
        let mut host = Host { home: home.to_owned(), user_key };
        if let Some(runtime) = &self.runtime {
            runtime.spawn(async move {
                // Both fail only when the runtime is at its end.
                if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
                    let _ = host.run_on_socket(config, &listener).await;
                }
            });
        }
    }

    fn boot(&mut self, home: &Path) -> io::Result<()> {
        if !home.join("boot.sh").is_file() {
            return Ok(());
        }
        let output = fs::File::create(home.join("boot.log"))?;
        let child = environment(std::process::Command::new("/bin/sh").args(["-c", BOOT]), home)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        self.booted.push(child);
        Ok(())
    }
}

impl Drop for Sandboxes {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
        for child in &mut self.booted {
            let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
            let _ = child.wait();
        }
        end_marked(&self.folder.join("homes"));
    }
}

/// Ends every process that was started on a host whose home lies in this folder.
fn end_marked(homes: &Path) {
    let mark = format!("{MARK}={}/", homes.display());
    let Ok(processes) = fs::read_dir("/proc") else {
        return;
    };
    for entry in processes.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(environment) = fs::read(entry.path().join("environ")) else {
            continue;
        };
        let is_ours =
            environment.split(|&byte| byte == 0).any(|variable| variable.starts_with(mark.as_bytes()));
        if let Some(pid) = Pid::from_raw(pid).filter(|_| is_ours) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// The working folder and variables of everything that runs on a host.
fn environment<'a>(command: &'a mut std::process::Command, home: &Path) -> &'a mut std::process::Command {
    command.current_dir(home).env("HOME", home).env("USER", USER).env(MARK, home)
}

fn new_key() -> io::Result<PrivateKey> {
    PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).map_err(io::Error::other)
}

fn openssh(key: &PrivateKey) -> io::Result<String> {
    key.to_openssh(LineEnding::LF).map(|text| text.to_string()).map_err(io::Error::other)
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    io::Write::write_all(&mut file, bytes)
}

fn copy_folder(source: &Path, destination: &Path) -> io::Result<()> {
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        let target = destination.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

#[derive(Clone)]
struct Host {
    home: PathBuf,
    user_key: PublicKey,
}

impl russh::server::Server for Host {
    type Handler = Connection;

    fn new_client(&mut self, _: Option<SocketAddr>) -> Connection {
        Connection { host: self.clone(), channels: HashMap::new() }
    }
}

struct Connection {
    host: Host,
    channels: HashMap<ChannelId, Channel<Msg>>,
}

impl russh::server::Handler for Connection {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        let known = user == USER && key.public_key.key_data() == self.host.user_key.key_data();
        Ok(if known { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let Some(channel) = self.channels.remove(&id) else {
            return session.channel_failure(id);
        };
        let text = String::from_utf8_lossy(command).into_owned();
        let mut shell = std::process::Command::new("/bin/sh");
        environment(shell.args(["-c", &text]), &self.host.home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let Ok(mut child) = Command::from(shell).spawn() else {
            return session.channel_failure(id);
        };
        session.channel_success(id)?;
        let handle = session.handle();
        let (mut from_client, to_client) = channel.split();
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (mut out, mut err) = (to_client.make_writer(), to_client.make_writer_ext(Some(1)));
        let input = tokio::spawn(async move {
            let mut stdin = stdin;
            while let Some(message) = from_client.wait().await {
                match message {
                    ChannelMsg::Data { data } => {
                        if let Some(pipe) = &mut stdin
                            && pipe.write_all(&data).await.is_err()
                        {
                            stdin = None;
                        }
                    }
                    ChannelMsg::Eof => stdin = None,
                    ChannelMsg::Close => return,
                    _ => {}
                }
            }
        });
        tokio::spawn(async move {
            let outputs = async {
                if let (Some(mut stdout), Some(mut stderr)) = (stdout, stderr) {
                    let _ = tokio::join!(
                        tokio::io::copy(&mut stdout, &mut out),
                        tokio::io::copy(&mut stderr, &mut err)
                    );
                }
            };
            let (status, ()) = tokio::join!(child.wait(), outputs);
            if let Ok(status) = status {
                let _ = match exit_signal(status) {
                    Some(signal) => {
                        handle
                            .exit_signal_request(
                                id,
                                signal,
                                status.core_dumped(),
                                String::new(),
                                String::new(),
                            )
                            .await
                    }
                    None => {
                        let code = status.code().unwrap_or_default();
                        handle.exit_status_request(id, code.unsigned_abs()).await
                    }
                };
            }
            let _ = handle.eof(id).await;
            let _ = handle.close(id).await;
            input.abort();
        });
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        match (name, self.channels.remove(&id)) {
            ("sftp", Some(channel)) => {
                session.channel_success(id)?;
                let files = Sftp { home: self.host.home.clone(), files: HashMap::new(), opened: 0 };
                russh_sftp::server::run(channel.into_stream(), files).await;
                Ok(())
            }
            _ => session.channel_failure(id),
        }
    }
}

fn exit_signal(status: ExitStatus) -> Option<Sig> {
    Some(match status.signal()? {
        1 => Sig::HUP,
        2 => Sig::INT,
        6 => Sig::ABRT,
        9 => Sig::KILL,
        11 => Sig::SEGV,
        15 => Sig::TERM,
        number => Sig::Custom(number.to_string()),
    })
}

/// As much of SFTP (draft-ietf-secsh-filexfer-02) as the bringing of files takes.
struct Sftp {
    home: PathBuf,
    files: HashMap<String, tokio::fs::File>,
    opened: u64,
}

fn code(error: &io::Error) -> StatusCode {
    match error.kind() {
        io::ErrorKind::NotFound => StatusCode::NoSuchFile,
        io::ErrorKind::PermissionDenied => StatusCode::PermissionDenied,
        _ => StatusCode::Failure,
    }
}

fn done(id: u32) -> Status {
    Status {
        id,
        status_code: StatusCode::Ok,
        error_message: "Ok".to_owned(),
        language_tag: "en-US".to_owned(),
    }
}

impl Sftp {
    fn set_mode(&self, path: &Path, attributes: &FileAttributes) -> io::Result<()> {
        match attributes.permissions {
            Some(mode) => fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o7777)),
            None => Ok(()),
        }
    }
}

impl russh_sftp::server::Handler for Sftp {
    type Error = StatusCode;

    fn unimplemented(&self) -> StatusCode {
        StatusCode::OpUnsupported
    }

    async fn init(&mut self, _: u32, _: HashMap<String, String>) -> Result<Version, StatusCode> {
        Ok(Version::new())
    }

    async fn realpath(&mut self, id: u32, path: String) -> Result<Name, StatusCode> {
        let path = self.home.join(path);
        Ok(Name { id, files: vec![russh_sftp::protocol::File::dummy(path.to_string_lossy())] })
    }

    async fn open(
        &mut self,
        id: u32,
        path: String,
        flags: OpenFlags,
        attributes: FileAttributes,
    ) -> Result<Handle, StatusCode> {
        let path = self.home.join(path);
        let mut options = fs::OpenOptions::from(flags);
        options.mode(attributes.permissions.unwrap_or(0o644) & 0o7777);
        let file = options.open(&path).map_err(|error| code(&error))?;
        self.opened += 1;
        let handle = format!("{}:{}", self.opened, path.display());
        self.files.insert(handle.clone(), file.into());
        Ok(Handle { id, handle })
    }

    async fn write(
        &mut self,
        id: u32,
        handle: String,
        offset: u64,
        data: Vec<u8>,
    ) -> Result<Status, StatusCode> {
        let file = self.files.get_mut(&handle).ok_or(StatusCode::Failure)?;
        file.seek(io::SeekFrom::Start(offset)).await.map_err(|error| code(&error))?;
        file.write_all(&data).await.map_err(|error| code(&error))?;
        Ok(done(id))
    }

    async fn fsetstat(
        &mut self,
        id: u32,
        handle: String,
        attributes: FileAttributes,
    ) -> Result<Status, StatusCode> {
        let (_, path) = handle.split_once(':').ok_or(StatusCode::Failure)?;
        self.set_mode(Path::new(path), &attributes).map_err(|error| code(&error))?;
        Ok(done(id))
    }

    async fn setstat(
        &mut self,
        id: u32,
        path: String,
        attributes: FileAttributes,
    ) -> Result<Status, StatusCode> {
        self.set_mode(&self.home.join(path), &attributes).map_err(|error| code(&error))?;
        Ok(done(id))
    }

    async fn close(&mut self, id: u32, handle: String) -> Result<Status, StatusCode> {
        if let Some(mut file) = self.files.remove(&handle) {
            file.flush().await.map_err(|error| code(&error))?;
        }
        Ok(done(id))
    }

    async fn stat(&mut self, id: u32, path: String) -> Result<Attrs, StatusCode> {
        let metadata = fs::metadata(self.home.join(path)).map_err(|error| code(&error))?;
        Ok(Attrs { id, attrs: FileAttributes::from(&metadata) })
    }

    async fn mkdir(&mut self, id: u32, path: String, _: FileAttributes) -> Result<Status, StatusCode> {
        fs::create_dir(self.home.join(path)).map_err(|error| code(&error))?;
        Ok(done(id))
    }
}
