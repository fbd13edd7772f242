//! Carries packets from one account of a broker to the other, and loses those that are named.

use std::collections::HashMap;

use async_nats::Client;
use bytes::Bytes;
use futures_util::StreamExt;
use towline_swp::{
    network::nats::NatsNetwork,
    proto::{Packet, TcpEvent},
};

use crate::Failure;

/// As large as a broker carries.
const MAX_PACKET: usize = 1 << 20;

pub(crate) async fn run(
    url_a: &str,
    url_b: &str,
    a: &str,
    b: &str,
    losses: &[&str],
) -> Result<(), Failure> {
    let at_a = NatsNetwork::connect(url_a).await?.client().clone();
    let at_b = NatsNetwork::connect(url_b).await?.client().clone();
    let mut from_a = at_a.subscribe(b.to_owned()).await?;
    let mut from_b = at_b.subscribe(a.to_owned()).await?;
    at_a.flush().await?;
    at_b.flush().await?;
    let mut sides = [Side::new("a", at_b, b), Side::new("b", at_a, a)];
    let mut losses: Vec<&str> = losses.to_vec();
    if let Some(at) = losses.iter().position(|&loss| loss == "cross") {
        losses.remove(at);
        for side in &mut sides {
            side.is_holding = true;
        }
    }
    println!("ready");
    loop {
        let (side, message) = tokio::select! {
            message = from_a.next() => (0, message),
            message = from_b.next() => (1, message),
        };
        let message = message.ok_or("the broker is gone")?;
        sides[side].carry(message.payload, &mut losses).await?;
        if sides.iter().all(|side| side.held.is_some()) {
            for side in &mut sides {
                side.release().await?;
            }
            println!("crossed");
        }
    }
}

/// What comes from one side.
struct Side {
    name: &'static str,
    /// Where it goes.
    to: Client,
    subject: String,
    /// How many of each kind have come.
    seen: HashMap<&'static str, i64>,
    is_holding: bool,
    held: Option<Bytes>,
}

impl Side {
    fn new(name: &'static str, to: Client, subject: &str) -> Self {
        Self {
            name,
            to,
            subject: subject.to_owned(),
            seen: HashMap::new(),
            is_holding: false,
            held: None,
        }
    }

    async fn carry(&mut self, payload: Bytes, losses: &mut Vec<&str>) -> Result<(), Failure> {
        let packet = Packet::decode(&payload, MAX_PACKET)?;
        let kind = kind(packet.event);
        let seen = self.seen.entry(kind).or_default();
        *seen += 1;
        let number = match (packet.event, packet.retry) {
            (TcpEvent::DATA, 0) => packet.seq,
            // What is sent again is not lost again.
            (TcpEvent::DATA, _) => i64::MAX,
            _ => *seen,
        };
        let name = format!("{}/{kind}/{number}", self.name);
        if let Some(at) = losses.iter().position(|&loss| loss == name) {
            losses.remove(at);
            println!("lost {name}");
            return Ok(());
        }
        if self.is_holding && packet.event == TcpEvent::SYN {
            self.held = Some(payload);
            return Ok(());
        }
        self.send(payload).await
    }

    async fn release(&mut self) -> Result<(), Failure> {
        self.is_holding = false;
        match self.held.take() {
            Some(payload) => self.send(payload).await,
            None => Ok(()),
        }
    }

    async fn send(&self, payload: Bytes) -> Result<(), Failure> {
        self.to.publish(self.subject.clone(), payload).await?;
        Ok(())
    }
}

fn kind(event: TcpEvent) -> &'static str {
    match event {
        TcpEvent::SYN => "SYN",
        TcpEvent::SYN_ACK => "SYNACK",
        TcpEvent::ESTAB_ACK => "ESTABACK",
        TcpEvent::FIN => "FIN",
        TcpEvent::FIN_ACK => "FINACK",
        TcpEvent::DATA_ACK => "DATAACK",
        TcpEvent::DATA => "DATA",
        TcpEvent::KEEP_ALIVE => "KEEPALIVE",
        TcpEvent::NIL => "UPDATE",
        _ => "OTHER",
    }
}
