//! Priority lanes.
