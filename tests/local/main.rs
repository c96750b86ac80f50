//! Local servers for real: they start, they stop, and whatever happens to their parent, nothing stays behind.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use goldseam::local::{Account, Binaries, Cluster, Folder, LocalError, Spec, Stop, find_for_tests};

fn binaries() -> Binaries {
    find_for_tests().unwrap()
}

fn temporary() -> Folder {
    Folder::temporary(Account::for_servers().unwrap()).unwrap()
}

fn start(count: usize) -> Cluster {
    Cluster::start(temporary(), &Spec::new(binaries(), count)).unwrap()
}

fn alive(pid: u32) -> bool {
    // SAFETY: signal 0 only asks whether the process exists.
    unsafe { libc::kill(pid as i32, 0) == 0 }
}

fn answers(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(15), "not within 15 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn servers_start_on_ports_of_their_own_and_go_with_their_folder() {
    let cluster = start(3);
    let path = cluster.path().to_path_buf();
    let ports: Vec<u16> = cluster.servers.iter().map(|server| server.port()).collect();
    let pids: Vec<u32> = cluster.servers.iter().map(|server| server.pid().unwrap()).collect();
    assert!(ports.iter().all(|port| answers(*port)));
    assert!(ports[0] != ports[1] && ports[1] != ports[2] && ports[0] != ports[2]);
    drop(cluster);
    assert!(!ports.iter().any(|port| answers(*port)));
    assert!(!pids.iter().any(|pid| alive(*pid)));
    assert!(!path.exists());
}

#[test]
fn a_server_comes_back_on_its_port_after_a_crash() {
    let mut cluster = start(1);
    let server = &mut cluster.servers[0];
    let port = server.port();
    for how in [Stop::Immediate, Stop::Fast] {
        server.stop(how);
        assert!(!answers(port) && server.pid().is_none());
        server.start().unwrap();
        assert!(answers(port) && server.port() == port);
    }
}

#[test]
fn servers_never_run_as_root() {
    use std::os::unix::fs::MetadataExt;
    let cluster = start(1);
    let owner = std::fs::metadata(cluster.servers[0].data().join("PG_VERSION")).unwrap().uid();
    assert_ne!(owner, 0);
}

#[test]
fn a_kept_folder_is_started_again_with_its_data() {
    let base = temporary();
    let path = base.path().join("kept");
    let account = Account::for_servers().unwrap();
    let spec = Spec::new(binaries(), 1);
    let mut cluster = Cluster::start(Folder::kept(&path, account).unwrap(), &spec).unwrap();
    std::fs::write(cluster.servers[0].data().join("mark"), "here").unwrap();
    assert!(matches!(Folder::kept(&path, account), Err(LocalError::FolderInUse(_))));
    cluster.stop(Stop::Fast);
    drop(cluster);
    let again = Cluster::start(Folder::kept(&path, account).unwrap(), &spec).unwrap();
    assert!(again.servers[0].data().join("mark").exists());
}

#[test]
fn a_bad_setting_is_reported_with_the_servers_own_words() {
    let mut spec = Spec::new(binaries(), 1);
    spec.settings.push(("max_connections".into(), "'many'".into()));
    let message = Cluster::start(temporary(), &spec).unwrap_err().to_string();
    assert!(message.contains("max_connections"), "{message}");
    assert!(matches!(Cluster::start(temporary(), &Spec::new(binaries(), 0)), Err(LocalError::Count(0))));
}

#[test]
fn nothing_outlives_a_parent_killed_outright() {
    let (mut parent, path, pids) = parent_with_servers();
    assert!(pids.iter().all(|pid| alive(*pid)));
    parent.kill().unwrap(); // SIGKILL: no destructor runs
    parent.wait().unwrap();
    eventually("the servers are gone", || !pids.iter().any(|pid| alive(*pid)));
    eventually("their folder is gone", || !path.exists());
}

#[test]
fn a_signal_to_the_parents_process_group_does_not_reach_the_servers() {
    let (mut parent, path, pids) = parent_with_servers();
    // What a terminal does at Ctrl-C. The parent ignores it, as the demo does while it stops its servers in order.
    // SAFETY: a negative id names the process group of a child we started as a group of its own.
    assert_eq!(unsafe { libc::kill(-(parent.id() as i32), libc::SIGWINCH) }, 0);
    for pid in &pids {
        // SAFETY: getpgid reads a process's group and touches no memory.
        assert_ne!(unsafe { libc::getpgid(*pid as i32) }, parent.id() as i32);
    }
    parent.kill().unwrap();
    parent.wait().unwrap();
    eventually("all is gone", || !pids.iter().any(|pid| alive(*pid)) && !path.exists());
}

/// Starts this very test binary as a process that holds two servers.
fn parent_with_servers() -> (std::process::Child, PathBuf, Vec<u32>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "hold_two_servers", "--nocapture"]).process_group(0);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line =
        lines.map(|line| line.unwrap()).find_map(|line| line.split_once("holding ").map(|(_, rest)| rest.to_string()));
    let line = line.expect("the child starts its servers");
    let mut words = line.split(' ');
    let path = Path::new(words.next().unwrap()).to_path_buf();
    (child, path, words.map(|word| word.parse().unwrap()).collect())
}

#[test]
#[ignore = "not a test but the process that the tests above start and kill: cargo test --test local hold_two_servers -- --ignored --nocapture"]
fn hold_two_servers() {
    let cluster = start(2);
    let pids: Vec<String> = cluster.servers.iter().map(|server| server.pid().unwrap().to_string()).collect();
    println!("holding {} {}", cluster.path().display(), pids.join(" "));
    std::thread::sleep(Duration::from_secs(60));
}
