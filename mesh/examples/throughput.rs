//! How fast streams are over a chain of nodes on loopback, each node a process of its own.
//!
//! `cargo run --release -p worknode-mesh --example throughput -- [HOPS] [MEGABYTES] [STREAMS]`
//!
//! The environment variable `TRANSPORT` may be `tcp`, `udp` or `ws`.
//!
//! `... -- child NAME 0` is a node that listens on a port that it prints, with a service `sink` that counts and answers
//! with the count; it ends with its standard input. `... -- to NODE PORT MEGABYTES` sends to the service `sink` of a node
//! that listens on a port. With these two a receptor node can stand at either end.
//!
//! Megabytes (10^6 bytes) are those of all streams together. CPU seconds are those of each process, for all of it.

#![allow(clippy::print_stdout, clippy::cast_precision_loss, reason = "figures are for a reader")]

use std::{
    error::Error,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    task::JoinSet,
    time::sleep,
};
use worknode_mesh::{
    MeshHandle, Settings, Stream,
    backend::{BackendSettings, BackendTls, Redial},
};
use worknode_protocol::config::model::mesh::{Backend, Listener, Peer, Transport};

type Fault = Box<dyn Error + Send + Sync>;

const BLOCK: usize = 64 * 1024;

#[tokio::main]
async fn main() -> Result<(), Fault> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [child, name, next] = &arguments[..]
        && child == "child"
    {
        return serve(name, next).await;
    }
    if let [to, node, port, megabytes] = &arguments[..]
        && to == "to"
    {
        return send_to(node, port, megabytes.parse::<usize>()? * 1_000_000).await;
    }
    let number = |place: usize, default: usize| arguments.get(place).map_or(Ok(default), |text| text.parse());
    measure(number(0, 1)?, number(1, 1000)? * 1_000_000, number(2, 1)?).await
}

fn backend(backend: Backend) -> BackendSettings {
    BackendSettings { backend, tls: BackendTls::Off, redial: Redial::default() }
}

fn transport() -> Transport {
    match std::env::var("TRANSPORT").as_deref() {
        Ok("udp") => Transport::Udp,
        Ok("ws") => Transport::WebSocket,
        _ => Transport::Tcp,
    }
}

fn mesh(name: &str) -> Result<MeshHandle, Fault> {
    let settings = Settings { node: name.parse()?, firewall: Vec::new(), idle: Duration::ZERO };
    Ok(worknode_mesh::start(settings)?)
}

fn peer(port: &str) -> BackendSettings {
    let scheme = if transport() == Transport::WebSocket { "ws://" } else { "" };
    let address = format!("{scheme}127.0.0.1:{port}");
    let (transport, tls, extra_header) = (transport(), None, None);
    backend(Backend::Peer(Peer {
        transport,
        address,
        redial: true,
        tls,
        extra_header,
        cost: 1.0,
        allowed_peers: Vec::new(),
    }))
}

/// A node that listens, and dials the next one of the chain if there is one. It counts what a stream brings.
async fn serve(name: &str, next: &str) -> Result<(), Fault> {
    let mesh = mesh(name)?;
    let mut service = mesh.listen("sink", None, None).await?;
    let listener = backend(Backend::Listener(Listener {
        transport: transport(),
        bind_addr: "127.0.0.1".to_owned(),
        port: 0,
        path: "/".to_owned(),
        tls: None,
        cost: 1.0,
        node_cost: Default::default(),
        allowed_peers: Vec::new(),
    }));
    let mut backends = vec![listener];
    if next != "0" {
        backends.push(peer(next));
    }
    let addresses = mesh.set_backends(backends).await?;
    let port = addresses.first().copied().flatten().ok_or("no port")?.port();
    let mut stdout = tokio::io::stdout();
    stdout.write_all(format!("{port}\n").as_bytes()).await?;
    stdout.flush().await?;
    let mut parent = BufReader::new(tokio::io::stdin());
    let mut line = String::new();
    loop {
        tokio::select! {
            accepted = service.accept() => {
                let Some((stream, _)) = accepted else { return Ok(()) };
                tokio::spawn(sink(stream));
            }
            _ = parent.read_line(&mut line) => return Ok(()),
        }
    }
}

async fn sink(mut stream: Stream) -> Result<(), Fault> {
    let mut block = vec![0; BLOCK];
    let mut bytes = 0_u64;
    loop {
        match stream.read(&mut block).await? {
            0 => break,
            count => bytes += u64::try_from(count)?,
        }
    }
    stream.write_u64(bytes).await?;
    stream.shutdown().await?;
    Ok(())
}

async fn start(name: &str, next: &str) -> Result<(Child, String), Fault> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["child", name, next])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = tokio::process::ChildStdout::from_std(child.stdout.take().ok_or("no stdout")?)?;
    let mut port = String::new();
    BufReader::new(stdout).read_line(&mut port).await?;
    Ok((child, port.trim().to_owned()))
}

async fn measure(hops: usize, bytes: usize, streams: usize) -> Result<(), Fault> {
    let mut children = Vec::new();
    let mut next = "0".to_owned();
    for place in (1..=hops).rev() {
        let (child, port) = start(&format!("n{place}"), &next).await?;
        children.push(child);
        next = port;
    }
    let mesh = mesh("n0")?;
    mesh.set_backends(vec![peer(&next)]).await?;
    let last = format!("n{hops}");
    while mesh.ping(&last, MeshHandle::MOST_HOPS).await.problem.is_some() {
        sleep(Duration::from_millis(50)).await;
    }
    let mut dials = Vec::new();
    for _ in 0..20 {
        let started = Instant::now();
        let mut stream = mesh.dial(&last, "sink", None).await?;
        dials.push(started.elapsed());
        stream.shutdown().await?;
        stream.read_u64().await?;
    }
    dials.sort();

    let mut running = JoinSet::new();
    let mut opened = Vec::new();
    for _ in 0..streams {
        opened.push(mesh.dial(&last, "sink", None).await?);
    }
    let started = Instant::now();
    for stream in opened {
        running.spawn(send(stream, bytes / streams));
    }
    let mut times = Vec::new();
    while let Some(time) = running.join_next().await {
        times.push(time??);
    }
    let took = started.elapsed();
    times.sort();
    let mb = |bytes: usize, took: Duration| bytes as f64 / 1e6 / took.as_secs_f64();
    println!(
        "{hops} hops, {streams} streams, {} MB: {:.0} MB/s; dial {:?} median, {:?} longest; streams took {:?} to {:?}",
        bytes / 1_000_000,
        mb(bytes, took),
        dials.get(dials.len() / 2).copied().unwrap_or_default(),
        dials.last().copied().unwrap_or_default(),
        times.first().copied().unwrap_or_default(),
        times.last().copied().unwrap_or_default(),
    );
    for (place, child) in children.iter().rev().enumerate() {
        println!("  n{}: {}", place + 1, usage(child.id())?);
    }
    println!("  n0: {}", usage(std::process::id())?);
    for mut child in children {
        drop(child.stdin.take());
        child.wait()?;
    }
    Ok(())
}

/// Sends, and waits for no more than that the other end has taken it: a proxy of receptor brings no answer.
async fn send_to(node: &str, port: &str, bytes: usize) -> Result<(), Fault> {
    let mesh = mesh("n0")?;
    mesh.set_backends(vec![peer(port)]).await?;
    while mesh.ping(node, MeshHandle::MOST_HOPS).await.problem.is_some() {
        sleep(Duration::from_millis(50)).await;
    }
    let mut stream = mesh.dial(node, "sink", None).await?;
    let started = Instant::now();
    let block = vec![7; BLOCK];
    let mut left = bytes;
    while left > 0 {
        let count = left.min(BLOCK);
        stream.write_all(block.get(..count).unwrap_or(&block)).await?;
        left -= count;
    }
    stream.shutdown().await?;
    let _ = stream.read(&mut [0]).await;
    let took = started.elapsed();
    println!(
        "{:.1} MB/s to {node}, packets of {} bytes",
        bytes as f64 / 1e6 / took.as_secs_f64(),
        stream.packet_size()
    );
    println!("  n0: {}", usage(std::process::id())?);
    Ok(())
}

async fn send(mut stream: Stream, bytes: usize) -> Result<Duration, Fault> {
    let started = Instant::now();
    let block = vec![7; BLOCK];
    let mut left = bytes;
    while left > 0 {
        let count = left.min(BLOCK);
        stream.write_all(block.get(..count).unwrap_or(&block)).await?;
        left -= count;
    }
    stream.shutdown().await?;
    if stream.read_u64().await? != u64::try_from(bytes)? {
        return Err("bytes are missing".into());
    }
    Ok(started.elapsed())
}

/// CPU seconds and memory of a process.
fn usage(process: u32) -> Result<String, Fault> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
    let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default().replace('\t', " ");
    Ok(format!("{:.2} s user, {:.2} s system, {peak}", ticks(11) / 100.0, ticks(12) / 100.0))
}
