//! The switch room.
