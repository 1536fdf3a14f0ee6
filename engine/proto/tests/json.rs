//! A peer that speaks JSON inside its line, and a node of the usual stages that does not care:
//! streams, messages and pings are the same as in their compact forms. Virtual time, no sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail loudly"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use trunkline_proto::base::{
    BootEpoch, Chance, DropReason, Frame, Hashname, Instant, Limits, Namespace, Priority, Space,
    Wall,
};
use trunkline_proto::crypto::packing::head;
use trunkline_proto::crypto::{Identity, LineIds, SpaceRules};
use trunkline_proto::message::{
    Incoming, Outbound, Purpose, Sending, Subscription, SubscriptionId,
};
use trunkline_proto::shard::{Input, Node, Output, Shard};
use trunkline_proto::stage::lines::LineEvent;
use trunkline_proto::stage::plan::{Plan, Role};
use trunkline_proto::stage::post::Post;
use trunkline_proto::stage::streams::StreamKey;
use trunkline_proto::switch::streams::{Open, ReadState, StreamEvent, StreamLimits};
use trunkline_proto::switch::{Effect, LineRef, Message, Setting, State, Switch};
use trunkline_proto::wire::envelope::Envelope;
use trunkline_proto::wire::inner::Inner;
use trunkline_proto::wire::packet;
use trunkline_proto::wire::sealed;
use trunkline_proto::wire::sequence::Sequence;
use trunkline_proto::wire::stream::StreamPacket;

const WALL: Wall = Wall::from_secs(1_800_000_000);
const NOW: Instant = Instant::from_micros(1_000_000);

/// A line between a peer that is written by hand and a whole node.
struct World {
    peer: Switch,
    peer_name: Hashname,
    line: LineRef,
    node: Shard,
    at: [SocketAddr; 2],
    peer_is_lower: bool,
    /// What the node sent inside the line.
    heard: Vec<Bytes>,
    /// How long its last datagram was.
    sent: usize,
    streams: Vec<(StreamKey, StreamEvent)>,
    messages: Vec<Incoming>,
    /// The same, by the peer.
    told: Vec<Message>,
    /// The datagrams of the peer go as JSON, too.
    json_outside: bool,
}

fn identity(seed: u64) -> Arc<Identity> {
    let (space, life) = (Space::new("here").unwrap(), Duration::from_secs(86_400));
    let mut chance = Chance::from_number(seed);
    Arc::new(Identity::generate(&space, 2_048, &mut chance, WALL, life).unwrap())
}

impl World {
    fn new(json_outside: bool) -> Self {
        let ids = [identity(1), identity(2)];
        let names: [Hashname; 2] = [ids[0].hashname(), ids[1].hashname()];
        let at: [SocketAddr; 2] = [([192, 0, 2, 1], 1).into(), ([192, 0, 2, 2], 2).into()];
        let limits = Arc::new(Limits::default());
        let setting = Setting {
            partition: 0,
            partitions: 1,
            space: Arc::new(SpaceRules::open(*ids[0].space())),
            identity: ids[0].clone(),
            epoch: BootEpoch(1),
            limits: limits.clone(),
            capabilities: Default::default(),
            anonymous: false,
            ids: LineIds::new([1; 16]),
        };
        let mut peer = Switch::new(setting, Chance::from_number(3));
        let node = Node {
            plan: Plan::collapsed(1),
            space: Arc::new(SpaceRules::open(*ids[1].space())),
            identity: ids[1].clone(),
            epoch: BootEpoch(2),
            name: Default::default(),
            limits,
            stream_limits: StreamLimits::default(),
            terms: Default::default(),
            messages: Default::default(),
            anonymous: false,
            gate: Arc::default(),
            line_secret: [2; 16],
        };
        peer.found(NOW, names[1], &[at[1]], true);
        peer.learned(NOW, ids[1].record().clone());
        peer.want(NOW, names[1]);
        let line = LineRef { partition: 0, slot: 0, tenant: 0 };
        let mut world = Self {
            peer,
            peer_name: names[0],
            line,
            node: Shard::new(&node, 0, Chance::from_number(4)),
            at,
            peer_is_lower: names[0] < names[1],
            heard: Vec::new(),
            sent: 0,
            streams: Vec::new(),
            messages: Vec::new(),
            told: Vec::new(),
            json_outside,
        };
        let (id, namespace) = (SubscriptionId(1), envelope().namespace);
        let all = Subscription { id, namespace, target: None };
        world.node.handle(NOW, WALL, Input::Post(Role::Partition(0), Post::Subscribe(all)));
        world.carry();
        assert_ne!(world.line, line, "no line");
        world.heard.clear();
        world
    }

    /// The `n`th stream that the peer opens, or that the node does.
    const fn stream(&self, n: u64, by_peer: bool) -> u64 {
        if by_peer == self.peer_is_lower { 2 * n } else { 2 * n + 1 }
    }

    /// The peer says this inside the line.
    fn say(&mut self, json: &str, body: &[u8]) {
        let mut inner = BytesMut::new();
        packet::emit(json, &mut inner).unwrap();
        inner.extend_from_slice(body);
        self.peer.seal(NOW, self.line, Priority::DEFAULT, Frame::copied(&inner));
        self.carry();
    }

    fn carry(&mut self) {
        loop {
            let mut quiet = true;
            while let Some(effect) = self.peer.poll() {
                quiet = false;
                match effect {
                    Effect::Datagram { bytes, .. } => {
                        let bytes = if self.json_outside { as_json(&bytes) } else { bytes };
                        let bytes = BytesMut::from(&bytes[..]);
                        self.node.handle(
                            NOW,
                            WALL,
                            Input::Datagram { from: self.at[0], port: 0, bytes },
                        );
                    }
                    Effect::LineUp { line, .. } => self.line = line,
                    Effect::Stream { packet, .. } => self.heard.push(packet),
                    Effect::Arrived(message) => self.told.push(message),
                    Effect::LineDown { code, .. } => panic!("the line went down: {code:?}"),
                    _ => {}
                }
            }
            while let Some(output) = self.node.poll() {
                match output {
                    Output::Stream(key, event) => self.streams.push((key, event)),
                    Output::Line(LineEvent::Delivered(_, message)) => self.messages.push(message),
                    _ => {}
                }
            }
            while let Some((_, d)) = self.node.writer().unwrap().next_datagram() {
                quiet = false;
                assert_eq!(d.to, self.at[0]);
                self.sent = d.bytes.len();
                self.peer.datagram(NOW, WALL, self.at[1], BytesMut::from(&d.bytes[..]));
            }
            if quiet {
                return;
            }
        }
    }

    /// The node sends a message inside the line.
    fn tell(&mut self, payload: &'static [u8]) {
        let mut outbound = Outbound::new(envelope());
        outbound.sequence = Some(Sequence::MA);
        let sending = Box::new(Sending {
            id: 1,
            to: self.peer_name.address(),
            hashname: Some(self.peer_name),
            outbound,
            purpose: Purpose::Notice,
            records: vec![Bytes::from_static(payload)],
        });
        self.node.handle(NOW, WALL, Input::Post(Role::Partition(0), Post::Send(sending)));
        self.carry();
    }

    fn read(&mut self, key: StreamKey) -> ReadState {
        let state = self.node.read_stream(key, 1_000).unwrap();
        self.node.flush(NOW, WALL);
        self.carry();
        state
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.node.drops().of(reason)
    }
}

fn envelope() -> Envelope {
    Envelope::new(Namespace::new("here").unwrap(), 7.into())
}

/// A message as it is packed inside a line.
fn packed(record: &[u8]) -> Vec<u8> {
    [&head(Sequence::MA, &envelope())[..], record].concat()
}

/// The JSON form of a sealed packet; what is none stays as it is.
fn as_json(datagram: &Bytes) -> Bytes {
    let Ok(Some(head)) = sealed::Header::parse(datagram) else { return datagram.clone() };
    let mut out = BytesMut::new();
    packet::emit(&head.to_json(), &mut out).unwrap();
    out.extend_from_slice(&datagram[sealed::HEADER..]);
    out.freeze()
}

fn data(state: ReadState) -> Bytes {
    match state {
        ReadState::Data(bytes) => bytes,
        other => panic!("{other:?} in place of data"),
    }
}

#[test]
fn s23_a_stream_of_json_packets_is_opened_read_answered_and_ended() {
    for json_outside in [false, true] {
        let mut w = World::new(json_outside);
        let id = w.stream(0, true);
        // The second piece comes first, and says as much as the first what the stream is.
        let open = r#""type":"generic","p":3,"credit":16384"#;
        w.say(
            &format!(r#"{{"stream":{id},"seq":6,"stamp":2,{open},"end":true,"_app":[1]}}"#),
            b"world",
        );
        w.say(&format!(r#"{{"stream":{id},"seq":0,"stamp":1,{open}}}"#), b"hello ");
        let key = w.streams[0].0;
        assert!(matches!(&w.streams[0].1, StreamEvent::Opened { open: Open::Generic, .. }));
        assert_eq!(key.id.0, id);
        assert_eq!(data(w.read(key)), "hello world");
        assert!(matches!(w.read(key), ReadState::End), "the end of the stream");
        // Acknowledged: eleven bytes and the end.
        let acked = w.heard.iter().any(|p| match StreamPacket::decode(p) {
            Ok(StreamPacket::Ack(ack)) => (ack.id, ack.cumulative) == (id, 12),
            _ => false,
        });
        assert!(acked, "nothing acknowledged the end");
        // The other direction, acknowledged in JSON.
        assert_eq!(w.node.write_stream(key, &mut Bytes::from_static(b"yes")), Ok(3));
        w.node.finish_stream(key);
        w.node.flush(NOW, WALL);
        w.heard.clear();
        w.carry();
        let mut answer = Vec::new();
        for packet in &w.heard {
            if let Ok(StreamPacket::Data(d)) = StreamPacket::decode(packet) {
                answer.extend_from_slice(d.payload);
            }
        }
        assert_eq!(answer, b"yes");
        w.streams.clear();
        w.say(&format!(r#"{{"stream":{id},"ack":4,"credit":16384}}"#), b"");
        assert!(w.streams.iter().any(|(_, e)| matches!(e, StreamEvent::Closed(_))), "still open");
        assert_eq!(w.node.drops().total(), 0);
    }
}

#[test]
fn s24_a_json_reset_ends_a_stream_with_its_code_and_reason() {
    let mut w = World::new(false);
    let id = w.stream(3, true);
    let open = r#""type":"sock","sock":"192.0.2.9:22","p":6,"credit":70000"#;
    w.say(&format!(r#"{{"stream":{id},"seq":0,"stamp":1,{open}}}"#), b"");
    let expected = Open::Sock("192.0.2.9:22".into());
    assert!(matches!(&w.streams[0].1, StreamEvent::Opened { open, priority, .. }
            if *open == expected && priority.level() == 6));
    w.say(
        &format!(
            r#"{{"stream":{id},"err":300,"final":0,"sending":true,"reading":true,"reason":"no"}}"#
        ),
        b"",
    );
    let last = w.streams.iter().find_map(|(_, e)| match e {
        StreamEvent::Reset { code, reason, .. } => Some((code.0, reason.to_string())),
        _ => None,
    });
    assert_eq!(last, Some((300, "no".to_owned())));
    let answered = w.heard.iter().any(|p| match StreamPacket::decode(p) {
        Ok(StreamPacket::Reset(reset)) => reset.id == id && reset.answer,
        _ => false,
    });
    assert!(answered, "a reset is answered");
}

#[test]
fn s20_messages_pings_and_the_close_are_taken_as_json() {
    let mut w = World::new(false);
    let (hello, ok) = (packed(b"hello world"), packed(b"ok"));
    let total = hello.len();
    w.say(&format!(r#"{{"message":7,"total":{total},"offset":6}}"#), &hello[6..]);
    assert!(w.messages.is_empty());
    w.say(&format!(r#"{{"message":7,"total":{total},"offset":0}}"#), &hello[..6]);
    w.say(&format!(r#"{{"message":8,"total":{},"offset":0}}"#, ok.len()), &ok);
    let got: Vec<_> = w.messages.iter().map(|m| (m.id, m.proved, m.record())).collect();
    assert_eq!(got, [(7, true, "hello world".into()), (8, true, "ok".into())]);
    // Something of ours that came back, said in JSON: nothing is out, so it means nothing.
    w.say(r#"{"returned":9,"code":5,"rule":3}"#, b"");
    assert_eq!(w.node.drops().total(), 1);
    // Answered by as many bytes as asked, JSON and all.
    let pongs = w.peer.counters().unsealed;
    w.say(r#"{"ping":9}"#, b"some padding");
    assert_eq!(w.peer.counters().unsealed, pongs + 1);
    assert_eq!(w.sent, sealed::HEADER + 2 + 10 + 12 + sealed::TAG);
    w.say(r#"{"pong":9}"#, b"nobody asked");
    assert_eq!(w.peer.counters().unsealed, pongs + 1);
    assert_eq!(w.node.drops().total(), 1);
    let lines = |w: &World| {
        let contacts = w.node.switch().unwrap().report(NOW);
        contacts.filter(|c| c.state == State::Connected).count()
    };
    assert_eq!(lines(&w), 1);
    w.say(r#"{"close":11}"#, b"");
    assert_eq!(lines(&w), 0, "the line stands after its end");
}

#[test]
fn s2_what_nobody_takes_inside_a_line_is_dropped_with_its_reason() {
    let mut w = World::new(false);
    let id = w.stream(0, true);
    for (json, reason) in [
        (format!(r#"{{"stream":{id}}}"#), DropReason::UnknownKind),
        (format!(r#"{{"stream":{id},"seq":-1,"stamp":0}}"#), DropReason::Malformed),
        (format!(r#"{{"stream":{id},"seq":0,"seq":1,"stamp":0}}"#), DropReason::BadJson),
        (
            format!(r#"{{"stream":{id},"seq":{},"stamp":0}}"#, (1u64 << 62) - 1),
            DropReason::LimitBroken,
        ),
        // To the streams it is what the compact form is: nobody opened this one.
        (format!(r#"{{"stream":{id},"seq":0,"stamp":0}}"#), DropReason::UnknownStream),
        (String::new(), DropReason::BadJson),
    ] {
        let before = (w.dropped(reason), w.node.drops().total());
        w.say(&json, b"body");
        assert_eq!(
            (w.dropped(reason), w.node.drops().total()),
            (before.0 + 1, before.1 + 1),
            "{json}"
        );
    }
    assert!(w.streams.is_empty() && w.messages.is_empty());
    assert_eq!(Inner::parse(&[0, 0]), Ok(Inner::Json), "LENGTH 0 is no other form here");
}

#[test]
fn s23_messages_pass_streams_that_wait_for_what_was_lost_or_for_credit() {
    let mut w = World::new(false);
    let id = w.stream(0, true);
    // What came first is missing, so nothing of the stream can be read.
    let open = r#""type":"generic","p":3,"credit":16384"#;
    w.say(&format!(r#"{{"stream":{id},"seq":6,"stamp":2,{open}}}"#), b"world");
    let key = w.streams[0].0;
    assert!(matches!(w.read(key), ReadState::Pending));
    // The peer acknowledges nothing and gives no more credit, so nothing more of it is sent.
    w.node.write_stream(key, &mut Bytes::from(vec![7; 100_000])).unwrap();
    w.node.flush(NOW, WALL);
    w.carry();
    w.heard.clear();
    for n in 1..=3 {
        let inside = packed(b"in");
        w.say(&format!(r#"{{"message":7,"total":{},"offset":0}}"#, inside.len()), &inside);
        w.tell(b"out");
        assert_eq!((w.messages.len(), w.told.len()), (n, n), "each at once");
    }
    assert!(w.heard.is_empty(), "the stream still waits");
    assert!(w.told.iter().all(|m| m.sealed && m.payload[..] == packed(b"out")));
}
