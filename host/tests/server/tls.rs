//! HTTPS, its certificate, and the redirect to it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use wasmyard::manifest;
use wasmyard::server::{Config, Server, StartError};

use crate::host::{Host, PATIENCE, manifest_server};
use crate::wire::{Wire, tls};

fn presented(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().expect("a certificate")[0].to_vec()
}

fn write_pair(dir: &Path) -> Vec<u8> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).expect("written");
    fs::write(dir.join("cert.pem"), made.cert.pem()).expect("written");
    made.cert.der().to_vec()
}

#[tokio::test]
async fn the_protocol_is_agreed_on_by_alpn() {
    let host = Host::start().await;
    for (offered, agreed) in
        [(&["h2", "http/1.1"][..], Some("h2")), (&["http/1.1"], Some("http/1.1")), (&[], None)]
    {
        let stream = tls(host.https(), offered).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed.map(str::as_bytes), "{offered:?}");
    }
}

#[tokio::test]
async fn http_1_0_and_1_1_are_served_with_and_without_alpn() {
    let host = Host::start().await;
    for alpn in [&["http/1.1"][..], &["http/1.0"], &[]] {
        let mut wire = Wire::new(tls(host.https(), alpn).await);
        assert_eq!(wire.get("/a").await.body, "/a public true");
        wire.send("GET /b HTTP/1.0\r\n\r\n").await;
        assert_eq!(wire.answer().await.body, "/b public true");
        wire.assert_closed().await;
    }
}

#[tokio::test]
async fn a_certificate_of_our_own_is_kept_for_the_next_start() {
    let host = Host::start().await;
    let first = presented(&tls(host.https(), &[]).await);
    let server = manifest_server();
    let config = Config {
        server: &server,
        admin_port: 0,
        metrics_port: None,
        direct: vec![],
        state_dir: host.dir.path(),
    };
    let again = Server::start(&config, Arc::clone(&host.script)).await.expect("started");
    let second = presented(&tls(again.addresses().https, &[]).await);
    assert_eq!(first, second);
}

#[tokio::test]
async fn changed_files_are_served_without_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let first = write_pair(dir.path());
    let host = Host::configured(|server| {
        server.tls =
            Some(manifest::Tls { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") });
    })
    .await;
    assert_eq!(presented(&tls(host.https(), &[]).await), first);

    let second = write_pair(dir.path());
    let changed = async {
        while presented(&tls(host.https(), &[]).await) != second {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, changed).await.expect("served");
}

#[tokio::test]
async fn without_its_files_the_server_does_not_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut server = manifest_server();
    server.tls = Some(manifest::Tls { cert: dir.path().join("no.pem"), key: dir.path().join("no.key") });
    let host = Host::start().await;
    let config =
        Config { server: &server, admin_port: 0, metrics_port: None, direct: vec![], state_dir: dir.path() };
    let error = Server::start(&config, Arc::clone(&host.script)).await.expect_err("no certificate");
    assert!(matches!(error, StartError::Certificate(_)), "{error}");
    assert!(error.to_string().contains("no.pem"), "{error}");
}

#[tokio::test]
async fn plain_http_is_redirected() {
    let host = Host::start().await;
    let port = host.https().port();
    let mut wire = Wire::connect(host.redirect()).await;
    wire.send("GET /a?b=c HTTP/1.1\r\nHost: localhost:1\r\n\r\n").await;
    let answer = wire.answer().await;
    assert_eq!(answer.status, 308);
    assert_eq!(answer.field("location"), Some(format!("https://localhost:{port}/a?b=c").as_str()));

    wire.send("POST / HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 2\r\n\r\nab").await;
    let answer = wire.answer().await;
    assert_eq!(answer.field("location"), Some(format!("https://[::1]:{port}/").as_str()));
}

#[tokio::test]
async fn without_a_legal_host_there_is_no_redirect() {
    let host = Host::start().await;
    for head in [
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: evil.example/path\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\tb\r\n\r\n",
    ] {
        let mut wire = Wire::connect(host.redirect()).await;
        wire.send(head).await;
        wire.answer().await.assert_problem(400);
    }
}

#[tokio::test]
async fn a_port_in_use_is_a_warning_where_the_shop_can_do_without_it() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = taken.local_addr().expect("an address").port();
    let dir = tempfile::tempdir().expect("a folder");
    let script = Host::start().await.script;
    let start = async |server: &manifest::Server, admin_port, direct| {
        let config = Config {
            server,
            admin_port,
            metrics_port: None,
            direct: vec![("users".into(), direct)],
            state_dir: dir.path(),
        };
        Server::start(&config, Arc::clone(&script)).await
    };

    let mut server = manifest_server();
    server.http_port = Some(port);
    let started = start(&server, 0, port).await.expect("started");
    let addresses = started.addresses();
    for bound in [&addresses.direct["users"], addresses.http.as_ref().expect("switched on")] {
        let error = bound.as_ref().expect_err("in use");
        assert!(error.in_use() && error.source.kind() == ErrorKind::AddrInUse);
        assert_eq!(error.to_string(), format!("127.0.0.1:{port}: the port is in use"));
    }

    let server = manifest_server();
    let error = start(&server, port, 0).await.expect_err("in use");
    assert!(matches!(error, StartError::Admin(_)), "{error}");
    let server = manifest::Server { https_port: port, ..server };
    let error = start(&server, 0, 0).await.expect_err("in use");
    assert!(matches!(error, StartError::Https(_)), "{error}");
}
