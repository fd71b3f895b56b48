//! The benchmark's cases with libssh2 and no product around it: `bare PORT USER KEY KNOWN_HOSTS FOLDER CASES`.

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use ssh2::{CheckResult, KnownHostFileKind, OpenFlags, OpenType, Session};

const HOST: &str = "127.0.0.1";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [port, user, key, known_hosts, folder, cases] = arguments.as_slice() else {
        return Err("usage: bare PORT USER KEY KNOWN_HOSTS FOLDER CASES".into());
    };
    let folder = Path::new(folder);
    let session = log_in(port.parse()?, user, Path::new(key), Path::new(known_hosts))?;
    upload(&session, folder, &["inducer.sh", "reverter.sh"])?;
    for _ in 0..cases.parse()? {
        run_here(&folder.join("healthcheck.sh"))?;
        run_there(&session, "./inducer.sh")?;
        run_here(&folder.join("healthcheck.sh"))?;
        run_there(&session, "./reverter.sh")?;
        run_here(&folder.join("healthcheck.sh"))?;
    }
    Ok(())
}

fn log_in(port: u16, user: &str, key: &Path, known_hosts: &Path) -> Result<Session, Box<dyn Error>> {
    let stream = TcpStream::connect((HOST, port))?;
    stream.set_nodelay(true)?;
    let mut session = Session::new()?;
    session.set_tcp_stream(stream);
    session.handshake()?;
    let mut known = session.known_hosts()?;
    known.read_file(known_hosts, KnownHostFileKind::OpenSSH)?;
    let (host_key, _) = session.host_key().ok_or("the host has no key")?;
    if !matches!(known.check_port(HOST, port, host_key), CheckResult::Match) {
        return Err("the host key is not the known one".into());
    }
    session.userauth_pubkey_file(user, None, key, None)?;
    Ok(session)
}

fn upload(session: &Session, folder: &Path, names: &[&str]) -> Result<(), Box<dyn Error>> {
    let sftp = session.sftp()?;
    let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
    for name in names {
        let mut file = sftp.open_mode(Path::new(name), flags, 0o755, OpenType::File)?;
        file.write_all(&fs::read(folder.join(name))?)?;
        file.close()?;
    }
    Ok(())
}

fn run_here(script: &Path) -> Result<(), Box<dyn Error>> {
    let output = Command::new(script).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {output:?}", script.display()).into())
}

fn run_there(session: &Session, command: &str) -> Result<(), Box<dyn Error>> {
    let mut channel = session.channel_session()?;
    channel.exec(command)?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    channel.read_to_end(&mut stdout)?;
    channel.stderr().read_to_end(&mut stderr)?;
    channel.close()?;
    channel.wait_close()?;
    match channel.exit_status()? {
        0 => Ok(()),
        status => Err(format!("{command}: status {status}, {}", String::from_utf8_lossy(&stderr)).into()),
    }
}
