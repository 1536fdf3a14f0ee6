//! Requests about members, done on a [`Register`]: by the node that has it open, or by a command
//! when no node runs.

use std::time::Duration;

use trunkline_proto::base::Hashname;
use trunkline_proto::crypto::{Flags, voucher};

use super::protocol::{Fault, MemberList, MemberReport, OperatorAsk, codes};
use crate::config::record;
use crate::directory::{DirectoryError, Member, Register};
use crate::runtime::clock::Clock;

/// Does what is asked, having judged it. What it answers is on the disk.
///
/// # Errors
/// If it makes no sense, or the directory does not take it.
pub fn act(register: &Register, ask: &OperatorAsk) -> Result<MemberList, Fault> {
    let members = match ask {
        OperatorAsk::Add { record, allow, valid_s } => {
            let now = Clock::wall();
            let record = record::from_text(record, now).map_err(|e| bad(e.to_string()))?;
            let valid = Duration::from_secs(*valid_s);
            if !Register::VALID_BOUNDS.contains(&valid) {
                return Err(bad("a voucher is made for 1 hour to 366 days"));
            }
            vec![register.add(&record, flags(allow)?, valid, now).map_err(fault)?]
        }
        OperatorAsk::Remove { hashname } => {
            let who = parse(hashname)?;
            if !register.remove(&who).map_err(fault)? {
                let what = format!("{who} is no member; `trunkline operator list` shows them");
                return Err(Fault::new(codes::NO_MEMBER, what));
            }
            Vec::new()
        }
        OperatorAsk::List { after, most } => {
            let after = after.as_deref().map(parse).transpose()?;
            let most = (*most).min(OperatorAsk::MOST_LISTED);
            register.list(after.as_ref(), most).map_err(fault)?
        }
    };
    Ok(MemberList { members: members.iter().map(report).collect() })
}

/// The flags of these words.
///
/// # Errors
/// If one is none.
pub fn flags(words: &[String]) -> Result<Flags, Fault> {
    words.iter().try_fold(Flags::NONE, |flags, word| {
        let known = || Flags::WORDS.map(|(_, word)| word).join(", ");
        let flag = Flags::of_word(word);
        flag.map(|flag| flags.with(flag)).ok_or_else(|| {
            bad(format!("`{word}` is nothing a voucher allows; choose of {}", known()))
        })
    })
}

fn report(member: &Member) -> MemberReport {
    let words = Flags::WORDS.iter().filter(|(flag, _)| member.flags.contain(*flag));
    let claim = member.voucher.as_ref().and_then(|bytes| voucher::parse(bytes).ok());
    MemberReport {
        hashname: member.hashname.to_string(),
        serial: member.serial,
        allow: words.map(|(_, word)| (*word).to_owned()).collect(),
        valid_s: member.valid.as_secs(),
        voucher_expires: claim.map_or(0, |c| c.expiry.as_secs()),
    }
}

fn parse(hashname: &str) -> Result<Hashname, Fault> {
    hashname.parse().map_err(|e| bad(format!("`{hashname}` is no hashname: {e}")))
}

fn fault(error: DirectoryError) -> Fault {
    Fault::new(codes::DIRECTORY, error.to_string())
}

fn bad(message: impl Into<String>) -> Fault {
    Fault::new(codes::BAD_REQUEST, message)
}
