//! What packing a message costs, and unpacking it: by sequence and size, of text that shrinks and
//! of noise that does not. The line's own share (A) is measured in `crypto` and `switch`.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use trunkline_proto::base::{Chance, Namespace};
use trunkline_proto::crypto::packing::choice::{Wishes, choose};
use trunkline_proto::crypto::packing::{Came, Registry};
use trunkline_proto::wire::envelope::Envelope;
use trunkline_proto::wire::sequence::{PackTerms, Sequence};

const TEXT: &[u8] = b"{\"order\":4711,\"item\":\"bread\",\"count\":2,\"price\":\"3.20\"},";

fn text(size: usize) -> Bytes {
    TEXT.iter().copied().cycle().take(size).collect()
}

fn noise(size: usize) -> Bytes {
    let mut chance = Chance::from_number(1);
    std::iter::from_fn(|| Some(chance.bytes::<8>())).flatten().take(size).collect()
}

fn packing(c: &mut Criterion) {
    let registry = Registry::standard();
    let envelope = Envelope::new(Namespace::new("shop.orders").expect("a name"), 7.into());
    for (kind, make) in [("text", text as fn(usize) -> Bytes), ("noise", noise)] {
        let mut group = c.benchmark_group(format!("packing/{kind}"));
        for size in [64, 1_024, 16_384, 1 << 20] {
            let record = make(size);
            group.throughput(Throughput::Bytes(size as u64));
            for letters in ["M", "MA", "MZ", "MZA", "MPA", "MZPA"] {
                let sequence: Sequence = letters.parse().expect("letters");
                group.bench_function(format!("pack {letters} {size} B"), |bench| {
                    bench.iter(|| registry.pack(sequence, &envelope, black_box(&record)));
                });
                let packed = registry.pack(sequence, &envelope, &record);
                let sealed = packed.sequence.is_sealed();
                let came = if sealed { Came::Sealed } else { Came::Plain(packed.sequence) };
                let body: Bytes = [&packed.head[..], &packed.body[..]].concat().into();
                group.bench_function(format!("unpack {letters} {size} B"), |bench| {
                    bench.iter(|| {
                        let (_, bytes) = registry
                            .unpack(black_box(&body).clone(), came, 2 << 20)
                            .expect("our own");
                        Envelope::parse(&bytes).expect("our own")
                    });
                });
            }
        }
        group.finish();
    }
    let receiver = PackTerms {
        builders: registry.letters(),
        preferred: Sequence::MZ,
        least: "MPA".parse().expect("letters"),
    };
    let wishes = Wishes { node: Some(Sequence::MZA), receiver, ..Wishes::default() };
    c.bench_function("packing/choose", |bench| {
        bench.iter(|| choose(&registry, black_box(&wishes)));
    });
}

criterion_group!(benches, packing);
criterion_main!(benches);
