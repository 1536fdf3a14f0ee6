//! Frames: bytes on their way, in buffers that return to a pool by themselves.
