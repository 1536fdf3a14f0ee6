//! What is asked and answered about messages. Shapes, and what of them is possible at all.

use std::time::Duration;

use base64ct::{Base64, Encoding};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use trunkline_proto::base::{Hashname, Namespace, Priority, RecordId};
use trunkline_proto::message::Outbound;
use trunkline_proto::wire::sequence::Sequence;

use super::protocol::{Fault, PingAsk, codes};

/// A message to be sent; see [`super::protocol::Act::Send`] and
/// [`super::protocol::Act::Request`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MessageAsk {
    /// To whom, 64 hex digits.
    pub hashname: String,
    /// Where it goes there.
    pub namespace: String,
    /// To whom in the namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Which kind of record it carries: a number, a UUID or a text; 0 if nothing is said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub record: String,
    /// The record, in Base64.
    pub payload: String,
    /// How urgent, 0 to 7; the mesh's default if none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// By which builders it is packed; as the node does if none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<String>,
    /// By these and no others, whatever the receiver insists on.
    #[serde(skip_serializing_if = "is_false")]
    pub exactly: bool,
    /// Links it may cross; as the node's limits say if none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
    /// It never leaves the node.
    #[serde(skip_serializing_if = "is_false")]
    pub local: bool,
    /// Not to wait until it was handed over. Means nothing for a request.
    #[serde(skip_serializing_if = "is_false")]
    pub no_wait: bool,
    /// How long that, or the reply, may take.
    #[serde(default = "patience")]
    pub timeout_ms: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

const fn patience() -> u64 {
    5_000
}

/// A [`MessageAsk`] that makes sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// To whom.
    pub to: Hashname,
    /// How.
    pub what: Outbound,
    /// What.
    pub record: Bytes,
    /// How long to wait.
    pub patience: Duration,
}

impl MessageAsk {
    /// Reads every value.
    ///
    /// # Errors
    /// With the first one that is impossible.
    pub fn judge(&self) -> Result<Judged, Fault> {
        let to = self.hashname.parse();
        let to = to.map_err(|e| bad(format!("`{}` is no hashname: {e}", self.hashname)))?;
        let place = (self.namespace.as_str(), self.target.as_deref());
        let how = (self.priority, self.sequence.as_deref());
        let mut what = outbound(place, &self.record, how)?;
        what.envelope.local = self.local;
        if self.ttl == Some(0) {
            return Err(bad("a message that may cross no link goes nowhere: ttl is 1 to 255"));
        }
        (what.exactly, what.ttl) = (self.exactly, self.ttl);
        if self.timeout_ms > PingAsk::LONGEST_MS {
            return Err(bad(format!(
                "timeout_ms {} is over {}",
                self.timeout_ms,
                PingAsk::LONGEST_MS
            )));
        }
        let (record, patience) = (decode(&self.payload)?, Duration::from_millis(self.timeout_ms));
        Ok(Judged { to, what, record, patience })
    }
}

/// A message for all nodes; see [`super::protocol::Act::Broadcast`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BroadcastAsk {
    /// Where it goes at each of them.
    pub namespace: String,
    /// To whom in the namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Which kind of record it carries: a number, a UUID or a text; 0 if nothing is said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub record: String,
    /// The record, in Base64.
    pub payload: String,
    /// How urgent, 0 to 7; the mesh's default if none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// By which builders it is packed, without A; as the node does if none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<String>,
    /// Also for those who listen at this node.
    #[serde(skip_serializing_if = "is_false")]
    pub here: bool,
}

impl BroadcastAsk {
    /// Reads every value.
    ///
    /// # Errors
    /// With the first one that is impossible.
    pub fn judge(&self) -> Result<(Outbound, Bytes), Fault> {
        let place = (self.namespace.as_str(), self.target.as_deref());
        let how = (self.priority, self.sequence.as_deref());
        Ok((outbound(place, &self.record, how)?, decode(&self.payload)?))
    }
}

/// What became of a message that was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sent {
    /// Its number.
    pub id: u64,
    /// Somebody took it; false if nobody waited to hear.
    pub delivered: bool,
    /// How long that took.
    pub took_us: Option<u64>,
}

/// See [`super::protocol::Act::Listen`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListenAsk {
    /// Messages to this namespace,
    pub namespace: String,
    /// and this target there; all of them if none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

impl ListenAsk {
    /// Reads every value.
    ///
    /// # Errors
    /// With the first one that is impossible.
    pub fn judge(&self) -> Result<(Namespace, Option<Namespace>), Fault> {
        let target = self.target.as_deref().map(namespace).transpose()?;
        Ok((namespace(&self.namespace)?, target))
    }
}

/// An event of listening.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Listened {
    /// From now on messages are taken; said once, before the first of them.
    #[serde(skip_serializing_if = "is_false")]
    pub ready: bool,
    /// A message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Heard>,
}

/// A message that arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Heard {
    /// To answer it by ([`super::protocol::Act::Reply`]); 0 if it wants no answer.
    pub number: u64,
    /// The sender's number for it.
    pub id: u64,
    /// Whose it is: 64 hex digits, or 32 where only the address is known.
    pub from: String,
    /// Whether that is proved.
    pub proved: bool,
    /// Whether it was meant for all nodes.
    pub broadcast: bool,
    /// How urgent it was.
    pub priority: u8,
    /// How it was packed.
    pub sequence: String,
    /// Where it went.
    pub namespace: String,
    /// To whom there.
    pub target: Option<String>,
    /// Which kind of record it carries.
    pub record: String,
    /// The record, in Base64.
    pub payload: String,
    /// The listening port it came in at, if it came in at one.
    pub port: Option<u16>,
    /// The neighbour it came over, if its line is not direct.
    pub neighbour: Option<String>,
    /// How long the reply took, if it is one.
    pub took_us: Option<u64>,
}

/// See [`super::protocol::Act::Reply`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplyAsk {
    /// Which message.
    pub number: u64,
    /// The answer's record, in Base64.
    pub payload: String,
}

/// Bytes as they travel in JSON.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

/// The bytes of a text.
///
/// # Errors
/// If it is not Base64.
pub fn decode(text: &str) -> Result<Bytes, Fault> {
    let decoded = Base64::decode_vec(text);
    decoded.map(Bytes::from).map_err(|_| bad("a payload is not Base64"))
}

/// What messages to one node and to all have in common.
fn outbound(
    (place, target): (&str, Option<&str>),
    record: &str,
    (priority, sequence): (Option<u8>, Option<&str>),
) -> Result<Outbound, Fault> {
    let record = if record.is_empty() { "0" } else { record };
    let record: RecordId = record.parse().map_err(|e| bad(format!("`{record}`: {e}")))?;
    let mut what = Outbound::to(namespace(place)?, record);
    what.envelope.target = target.map(namespace).transpose()?;
    if let Some(level) = priority {
        let no = || bad(format!("priority {level} is not 0 to 7"));
        what.priority = Priority::new(level).ok_or_else(no)?;
    }
    if let Some(letters) = sequence {
        let no = |e| bad(format!("sequence `{letters}`: {e}"));
        what.sequence = Some(letters.parse::<Sequence>().map_err(no)?);
    }
    Ok(what)
}

fn namespace(text: &str) -> Result<Namespace, Fault> {
    text.parse().map_err(|e| bad(format!("`{text}`: {e}")))
}

fn bad(message: impl Into<String>) -> Fault {
    Fault::new(codes::BAD_REQUEST, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask() -> MessageAsk {
        MessageAsk {
            hashname: "ab".repeat(32),
            namespace: "shop".into(),
            payload: encode(b"hello"),
            timeout_ms: 5_000,
            ..MessageAsk::default()
        }
    }

    #[test]
    fn n21_what_makes_no_sense_is_told_before_anything_is_sent() {
        let judged = ask().judge().unwrap();
        assert_eq!((judged.record, judged.what.sequence), ("hello".into(), None));
        let wrong: [(&str, MessageAsk); 8] = [
            ("no hashname", MessageAsk { hashname: "ab".into(), ..ask() }),
            ("namespace", MessageAsk { namespace: "a b".into(), ..ask() }),
            ("namespace", MessageAsk { target: Some(String::new()), ..ask() }),
            ("record id", MessageAsk { record: "a b".into(), ..ask() }),
            ("priority 8", MessageAsk { priority: Some(8), ..ask() }),
            ("begins with M", MessageAsk { sequence: Some("ZA".into()), ..ask() }),
            ("ttl is 1", MessageAsk { ttl: Some(0), ..ask() }),
            ("not Base64", MessageAsk { payload: "*".into(), ..ask() }),
        ];
        for (why, ask) in wrong {
            let fault = ask.judge().unwrap_err();
            assert!(fault.message.contains(why), "{why}: {}", fault.message);
        }
    }

    #[test]
    fn requests_about_messages_look_as_documented() {
        let json = r#"{"hashname":"ab","namespace":"shop","payload":"aGk="}"#;
        let ask: MessageAsk = serde_json::from_str(json).unwrap();
        assert_eq!((ask.timeout_ms, ask.no_wait, ask.record.as_str()), (5_000, false, ""));
        let again = serde_json::to_string(&ask).unwrap();
        assert_eq!(
            again,
            r#"{"hashname":"ab","namespace":"shop","payload":"aGk=","timeout_ms":5000}"#
        );
    }
}
