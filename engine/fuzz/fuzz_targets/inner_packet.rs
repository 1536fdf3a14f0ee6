//! Packets inside a line, of every kind: what decodes is written back as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_proto::wire::inner::{ECHO, Inner, MESSAGE_HEADER, STREAM_FIRST, STREAM_LAST};

fuzz_target!(|data: &[u8]| {
    let mut head = Vec::new();
    match Inner::parse(data) {
        Ok(Inner::Json) => assert!(data[0] < STREAM_FIRST),
        Ok(Inner::Stream) => assert!((STREAM_FIRST..=STREAM_LAST).contains(&data[0])),
        Ok(Inner::Ping(token)) => Inner::echo(true, token, 9, &mut head),
        Ok(Inner::Pong(token)) => Inner::echo(false, token, 9, &mut head),
        Ok(Inner::Message(part)) => {
            let end = part.offset as usize + data.len() - MESSAGE_HEADER;
            assert!(end <= part.total as usize, "a part lies within its message");
            Inner::message(part, &mut head);
            // Of the flags only the lowest means something.
            assert_eq!(head[1], data[1] & 1);
            head[1] = data[1];
        }
        Ok(Inner::Returned(back)) => head.extend(Inner::returned(back)),
        Ok(Inner::Close(code)) => head.extend(Inner::close(code)),
        // What pads a try is not looked at.
        Ok(Inner::Try(token)) => head.extend(&Inner::probe(token)[..ECHO]),
        Ok(Inner::Tried(token, at)) => {
            head.extend(&Inner::probed(token, at)[..ECHO]);
            assert!(at.is_none_or(|at| Inner::parse(&Inner::probed(token, Some(at))).is_ok()));
        }
        Ok(Inner::Meet | Inner::App) => unreachable!("these have JSON"),
        Err(_) => {}
    }
    assert!(data.starts_with(&head));
});
