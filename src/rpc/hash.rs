//! Hashes by which replicas with the same history can be compared.

use crate::store::snapshot::View;
use crate::store::{KeyRange, Revision};

/// A hash of every key, value and number at `revision`. Equal on all replicas that have the same content there; not
/// etcd's own number, which depends on the layout of its file.
pub(super) fn hash(view: View<'_>, revision: Revision) -> u32 {
    let mut hash = crc32c::crc32c(&revision.0.to_be_bytes());
    for record in view.range(&KeyRange::all()) {
        // The encoded pair has everything, with lengths.
        hash = crc32c::crc32c_append(hash, record.proto());
    }
    hash
}
