//! The ground floor: what every other room may use, and what uses none of them.

pub mod backoff;
pub mod chance;
pub mod drops;
pub mod entrance;
pub mod frame;
pub mod id;
pub mod lanes;
pub mod limits;
pub mod map;
pub mod names;
pub mod rate;
pub mod replay;
pub mod time;
pub mod timers;

pub use chance::Chance;
pub use drops::{DropReason, Drops};
pub use entrance::Entrance;
pub use frame::{Frame, FramePool};
pub use id::{Address, BootEpoch, Hashname, LineId, LinkId, Priority, Space};
pub use lanes::{LANES, Lane, LaneBounds, Lanes, Source};
pub use limits::Limits;
pub use map::{Keyed, Map};
pub use names::{Namespace, RecordId};
pub use rate::RateTable;
pub use time::{Instant, Wall};
pub use timers::{Alarms, Timers};
