//! Range: reading keys with etcd's options.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::store::key_range::KeyRange;
use crate::store::record::Record;
use crate::store::revision::Revision;
use crate::store::snapshot::View;

/// A Range request, apart from the revision that it reads at.
#[derive(Clone, Debug)]
pub struct Range {
    /// Which keys.
    pub range: KeyRange,
    /// Most records to return; zero and below mean all.
    pub limit: i64,
    /// Order other than by ascending key.
    pub sort: Option<Sort>,
    /// Lowest modification revision to return, zero for any.
    pub min_mod: Revision,
    /// Highest modification revision to return, zero for any.
    pub max_mod: Revision,
    /// Lowest creation revision to return, zero for any.
    pub min_create: Revision,
    /// Highest creation revision to return, zero for any.
    pub max_create: Revision,
    /// Leave out the values.
    pub keys_only: bool,
    /// Return only the number of keys.
    pub count_only: bool,
}

/// What to sort by, and which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// The field.
    pub target: SortTarget,
    /// From the greatest down.
    pub descending: bool,
    /// Whether the request named the order. If it did not, only one record more than the limit is sorted, as by etcd.
    pub explicit: bool,
}

/// A field to sort by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortTarget {
    /// The key.
    Key,
    /// The number of changes since creation.
    Version,
    /// The revision of creation.
    Create,
    /// The revision of the last change.
    Mod,
    /// The value.
    Value,
}

/// The answer to a Range.
#[derive(Clone, Debug, Default)]
pub struct RangeResult {
    /// The records, in the order asked for. None for a count.
    pub records: Vec<Arc<Record>>,
    /// Whether the limit cut something off.
    pub more: bool,
    /// Number of keys in the range, whatever the limit and the revision filters.
    pub count: usize,
    /// The request wants no values.
    pub keys_only: bool,
}

impl Range {
    /// All keys of `range`.
    pub fn all(range: KeyRange) -> Self {
        Self {
            range,
            limit: 0,
            sort: None,
            min_mod: Revision::ZERO,
            max_mod: Revision::ZERO,
            min_create: Revision::ZERO,
            max_create: Revision::ZERO,
            keys_only: false,
            count_only: false,
        }
    }

    /// Reads from `view`.
    pub fn read(&self, view: View<'_>) -> RangeResult {
        let mut result = RangeResult { keys_only: self.keys_only, ..RangeResult::default() };
        if self.count_only {
            result.count = view.range(&self.range).count();
            return result;
        }
        // Without a reordering and filters, what is beyond the limit needs only to be counted. One more is kept, to know
        // that there is more; etcd lets it take part in a sort whose order was not named.
        let cut = usize::try_from(self.limit).ok().filter(|limit| *limit > 0);
        let early = cut.filter(|_| !self.filters() && self.sort.is_none_or(|sort| !sort.explicit));
        for record in view.range(&self.range) {
            result.count += 1;
            if early.is_none_or(|limit| result.records.len() <= limit) && self.wants(record) {
                result.records.push(record.clone());
            }
        }
        if let Some(sort) = self.sort {
            sort.apply(&mut result.records);
        }
        if let Some(limit) = cut
            && result.records.len() > limit
        {
            result.records.truncate(limit);
            result.more = true;
        }
        result
    }

    /// Whether everything in the range is wanted, in the order of keys.
    pub fn is_plain(&self) -> bool {
        let ascending = |sort: Sort| sort.target == SortTarget::Key && !sort.descending;
        self.limit <= 0 && !self.count_only && !self.filters() && self.sort.is_none_or(ascending)
    }

    fn filters(&self) -> bool {
        [self.min_mod, self.max_mod, self.min_create, self.max_create].iter().any(|bound| *bound != Revision::ZERO)
    }

    fn wants(&self, record: &Record) -> bool {
        let within = |revision: Revision, min: Revision, max: Revision| {
            revision >= min && (max == Revision::ZERO || revision <= max)
        };
        within(record.mod_revision, self.min_mod, self.max_mod)
            && within(record.create_revision, self.min_create, self.max_create)
    }
}

impl Sort {
    /// Sorts records that come by ascending key; equal ones stay in that order.
    fn apply(self, records: &mut [Arc<Record>]) {
        let compare = |a: &Arc<Record>, b: &Arc<Record>| -> Ordering {
            let ascending = match self.target {
                SortTarget::Key => a.key.cmp(&b.key),
                SortTarget::Version => a.version.cmp(&b.version),
                SortTarget::Create => a.create_revision.cmp(&b.create_revision),
                SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
                SortTarget::Value => a.value.cmp(&b.value),
            };
            if self.descending { ascending.reverse() } else { ascending }
        };
        records.sort_by(compare);
    }
}
