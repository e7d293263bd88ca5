//! The `wasmyard` command as a user has it: what it says, and its exit codes.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::thread::JoinHandle;

use wasmyard::testing::servers::free_port;

fn wasmyard(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wasmyard"))
        .args(arguments)
        .current_dir(dir)
        .env_remove("WASMYARD_MANIFEST")
        .output()
        .expect("the command can be run")
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_str(&out(output)).expect("JSON on standard output")
}

/// A folder with a manifest, a file that looks like a component, and a core module.
fn folder(manifest: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(dir.path().join("wasmyard.toml"), manifest).expect("a manifest");
    std::fs::write(dir.path().join("users.wasm"), b"\0asm\x0d\0\x01\0").expect("a component");
    std::fs::write(dir.path().join("module.wasm"), b"\0asm\x01\0\0\0").expect("a module");
    dir
}

#[test]
fn a_bad_manifest_is_64_with_its_place_and_the_nearest_name() {
    let dir = folder("[server]\nhttps_prot = 1\n");
    let output = wasmyard(dir.path(), &["check"]);
    assert_eq!(code(&output), Some(64));
    assert!(
        err(&output).contains("wasmyard.toml:2:1") && err(&output).contains("did you mean `https_port`?")
    );

    let output = wasmyard(dir.path(), &["check", "--json"]);
    assert_eq!(code(&output), Some(64));
    assert_eq!(json(&output)["error"]["exit"], 64);
    assert_eq!(json(&output)["error"]["details"]["faults"][0]["line"], 2);
}

#[test]
fn no_manifest_is_64_and_says_how_to_begin_one() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let output = wasmyard(dir.path(), &["status"]);
    assert_eq!(code(&output), Some(64));
    assert!(err(&output).contains("wasmyard new NAME"), "{}", err(&output));
}

#[test]
fn no_host_is_69() {
    let port = free_port();
    let dir = folder(&format!("[admin]\nport = {port}\n"));
    let output = wasmyard(dir.path(), &["status"]);
    assert_eq!(code(&output), Some(69), "{}", err(&output));
    assert!(err(&output).contains("is `wasmyard up` running?"));
    let output = wasmyard(dir.path(), &["deploy", "users", "users.wasm"]);
    assert_eq!(code(&output), Some(69), "{}", err(&output));
}

#[test]
fn what_is_no_component_is_refused_before_a_host_is_asked() {
    let dir = folder("");
    let output = wasmyard(dir.path(), &["deploy", "users", "module.wasm"]);
    assert_eq!(code(&output), Some(3));
    assert!(err(&output).contains("core module"), "{}", err(&output));
    let output = wasmyard(dir.path(), &["deploy", "users", "nothing.wasm"]);
    assert_eq!(code(&output), Some(74));
}

#[test]
fn a_deploy_sends_the_component_with_the_token_and_shows_the_swap() {
    let report = r#"{"service":"users","version":"bbb","digest":"bb","previous":"aaa",
        "steps":[{"step":"compile","ms":12.34}],"swap_ms":15.0,"more":"ignored"}"#;
    let (dir, host) = with_host("200 OK", report);
    let output = wasmyard(dir.path(), &["deploy", "users", "users.wasm"]);
    assert_eq!(code(&output), Some(0), "{}", err(&output));
    assert_eq!(out(&output), "users: aaa → bbb in 15 ms\n  compile 12 ms\n");
    let request = host.join().expect("the host's thread");
    assert!(request.starts_with(b"POST /v1/services/users/deploy HTTP/1.1\r\n"));
    let head = String::from_utf8_lossy(&request).to_lowercase();
    assert!(head.contains("authorization: bearer s3cret\r\n"), "{head}");
    assert!(head.contains("content-type: application/wasm\r\n"), "{head}");
    assert!(request.ends_with(b"\r\n\r\n\0asm\x0d\0\x01\0"));
}

#[test]
fn a_refused_deploy_is_3_and_says_which_step_and_why() {
    let problem = r#"{"type":"urn:x","title":"Refused","status":422,"step":"grants",
        "reason":"it imports redis, which is not granted"}"#;
    let (dir, host) = with_host("422 Unprocessable Content", problem);
    let output = wasmyard(dir.path(), &["deploy", "users", "users.wasm", "--json"]);
    assert_eq!(code(&output), Some(3));
    assert_eq!(json(&output)["error"]["details"]["step"], "grants");
    let message = json(&output)["error"]["message"].as_str().map(str::to_owned).expect("a message");
    assert!(message.contains("grants") && message.contains("not granted"), "{message}");
    host.join().expect("the host's thread");
}

#[test]
fn an_unknown_service_is_1_with_the_nearest_name() {
    let problem = r#"{"type":"urn:x","title":"Nothing here","status":404,
        "detail":"there is no service `usrs`","nearest":"users"}"#;
    let (dir, host) = with_host("404 Not Found", problem);
    let output = wasmyard(dir.path(), &["history", "usrs"]);
    assert_eq!(code(&output), Some(1));
    assert!(err(&output).contains("did you mean `users`?"), "{}", err(&output));
    let request = host.join().expect("the host's thread");
    assert!(!String::from_utf8_lossy(&request).contains("s3cret"), "reading needs no token");
}

#[test]
fn history_is_a_table() {
    let history = r#"{"service":"users","versions":[
        {"version":"bbb","digest":"bb","at":"2026-01-02T03:04:05Z","way":"deploy","swap_ms":1.25,"state":"active"},
        {"version":"aaa","digest":"aa","at":"2026-01-01T00:00:00Z","way":"start","state":"refused","note":"why"}]}"#;
    let (dir, host) = with_host("200 OK", history);
    let output = wasmyard(dir.path(), &["history", "users"]);
    assert_eq!(code(&output), Some(0), "{}", err(&output));
    let table = out(&output);
    let words: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["VERSION", "AT", "BY", "SWAP", "STATE", "NOTE"]);
    assert_eq!((words[1][0], words[1][3], words[1].last()), ("bbb", "deploy", Some(&"active")));
    assert_eq!(words[2].last(), Some(&"why"));
    host.join().expect("the host's thread");
}

#[test]
fn a_failed_build_shows_its_output_and_a_build_without_a_component_is_explained() {
    let service = |build: &str| {
        format!(
            "[services.users]\ncomponent = \"made.wasm\"\nroutes = []\nbuild = [\"sh\", \"-c\", \"{build}\"]\n"
        )
    };
    let dir = folder(&service("echo the reason >&2; exit 3"));
    let output = wasmyard(dir.path(), &["build"]);
    assert_eq!(code(&output), Some(1));
    assert!(err(&output).contains("the reason"), "{}", err(&output));

    let dir = folder(&service("true"));
    let output = wasmyard(dir.path(), &["build", "users"]);
    assert_eq!(code(&output), Some(1));
    assert!(err(&output).contains("made no such file"), "{}", err(&output));

    let dir = folder(&service("cp users.wasm made.wasm"));
    let output = wasmyard(dir.path(), &["build", "--json"]);
    assert_eq!(code(&output), Some(0), "{}", err(&output));
    assert_eq!(json(&output)["services"][0]["service"], "users");
    assert_eq!(code(&wasmyard(dir.path(), &["build", "user"])), Some(1));
}

#[test]
fn completions_name_every_verb() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for shell in ["bash", "zsh", "fish"] {
        let output = wasmyard(dir.path(), &["completions", shell]);
        assert_eq!(code(&output), Some(0));
        for verb in ["up", "build", "check", "deploy", "rollback", "status", "history", "new"] {
            assert!(out(&output).contains(verb), "{verb} in {shell}");
        }
    }
}

/// From an empty folder: the library and the contract are carried in the binary. The
/// versions of the dependencies are this workspace's, so nothing is downloaded.
#[test]
fn new_makes_a_service_out_of_nothing_and_a_failure_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    std::fs::copy(lock, dir.path().join("Cargo.lock")).expect("the workspace's lock file");
    let before = listing(dir.path());

    // Without Cargo everything is written, and then taken back.
    let output = Command::new(env!("CARGO_BIN_EXE_wasmyard"))
        .args(["new", "reviews"])
        .current_dir(dir.path())
        .env("PATH", "/nowhere")
        .output()
        .expect("the command can be run");
    assert_eq!(code(&output), Some(1), "{}", err(&output));
    assert_eq!(listing(dir.path()), before);

    let output = wasmyard(dir.path(), &["new", "reviews"]);
    assert_eq!(code(&output), Some(0), "{}{}", out(&output), err(&output));
    assert!(out(&output).contains("https://localhost:8443/api/v1/reviews"));
    let manifest = std::fs::read_to_string(dir.path().join("wasmyard.toml")).expect("a manifest");
    assert!(manifest.contains("[services.reviews]"));
    let linking = std::fs::read_to_string(dir.path().join(".cargo/config.toml")).expect("how to link");
    assert!(linking.contains("--initial-memory="), "{linking}");
    assert_eq!(code(&wasmyard(dir.path(), &["check"])), Some(0));

    let made = listing(dir.path());
    assert_eq!(code(&wasmyard(dir.path(), &["new", "reviews"])), Some(1), "there is one already");
    assert_eq!(code(&wasmyard(dir.path(), &["new", "Reviews"])), Some(2));
    assert_eq!(listing(dir.path()), made);
}

/// The files of a folder, without what Cargo has built.
fn listing(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "target" {
            continue;
        }
        if entry.path().is_dir() {
            let below = listing(&entry.path()).into_iter();
            files.extend(below.map(|(file, content)| (format!("{name}/{file}"), content)));
        } else {
            files.push((name, std::fs::read(entry.path()).expect("a file")));
        }
    }
    files.sort();
    files
}

/// A folder whose run file names a host that gives one answer, and that host, which
/// returns the request it was sent.
fn with_host(status: &str, body: &str) -> (tempfile::TempDir, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let dir = folder("");
    let state = dir.path().join(".wasmyard");
    std::fs::create_dir(&state).expect("a state folder");
    std::fs::write(state.join("admin-token"), "s3cret\n").expect("a token");
    let run = serde_json::json!({
        "pid": 1,
        "admin": listener.local_addr().expect("its address"),
        "token_file": state.join("admin-token"),
    });
    std::fs::write(state.join("run.json"), run.to_string()).expect("a run file");
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n");
    let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    let host = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let request = read_request(&mut stream);
        stream.write_all(answer.as_bytes()).expect("the answer is taken");
        request
    });
    (dir, host)
}

fn read_request(stream: &mut impl Read) -> Vec<u8> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("the head");
        request.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&request).to_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("the body");
    request.extend(body);
    request
}
