//! Intervals of keys, and which of them hold a key: a search tree by start, in which each node knows the furthest end
//! below it.
//!
//! The tree is a treap, a heap by random priorities, so that it is shallow in whatever order intervals come and go.

use std::cmp::Ordering;

use bytes::Bytes;

use crate::store::KeyRange;

/// Values of intervals. Finds those of a key in a time that grows with their number and with the logarithm of all.
#[derive(Debug)]
pub(super) struct Intervals<V> {
    root: Link<V>,
}

type Link<V> = Option<Box<Node<V>>>;

#[derive(Debug)]
struct Node<V> {
    interval: Interval,
    value: V,
    priority: u32,
    /// The furthest end of this and of all below.
    furthest: End,
    left: Link<V>,
    right: Link<V>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Interval {
    start: Bytes,
    end: End,
}

/// Ordered by how far it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Before(Bytes),
    Never,
}

impl End {
    fn is_after(&self, key: &[u8]) -> bool {
        match self {
            Self::Before(end) => key < end.as_ref(),
            Self::Never => true,
        }
    }
}

impl From<&KeyRange> for Interval {
    fn from(range: &KeyRange) -> Self {
        Self { start: range.start().clone(), end: range.end().map_or(End::Never, End::Before) }
    }
}

impl<V> Default for Intervals<V> {
    fn default() -> Self {
        Self { root: None }
    }
}

impl<V: Default> Intervals<V> {
    /// Changes the value of a range, which is a default one before.
    pub(super) fn update(&mut self, range: &KeyRange, change: impl FnOnce(&mut V)) {
        update(&mut self.root, range.into(), change);
    }

    /// Changes the value of a range if there is one, and removes it if `change` says so.
    pub(super) fn remove_if(&mut self, range: &KeyRange, change: impl FnOnce(&mut V) -> bool) {
        remove_if(&mut self.root, &range.into(), change);
    }

    /// Calls `visit` with the value of each range that holds `key`, by ascending start.
    pub(super) fn find<'a>(&'a self, key: &[u8], visit: &mut impl FnMut(&'a V)) {
        find(self.root.as_deref(), key, visit);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.root.is_none()
    }
}

fn find<'a, V>(node: Option<&'a Node<V>>, key: &[u8], visit: &mut impl FnMut(&'a V)) {
    let Some(node) = node.filter(|node| node.furthest.is_after(key)) else { return };
    find(node.left.as_deref(), key, visit);
    if node.interval.start.as_ref() <= key {
        if node.interval.end.is_after(key) {
            visit(&node.value);
        }
        find(node.right.as_deref(), key, visit);
    }
}

fn update<V: Default>(link: &mut Link<V>, interval: Interval, change: impl FnOnce(&mut V)) {
    let Some(node) = link else {
        let (furthest, mut value) = (interval.end.clone(), V::default());
        change(&mut value);
        *link = Some(Box::new(Node { interval, value, priority: rand::random(), furthest, left: None, right: None }));
        return;
    };
    match interval.cmp(&node.interval) {
        Ordering::Equal => return change(&mut node.value),
        Ordering::Less => {
            update(&mut node.left, interval, change);
            if let Some(mut top) = node.left.take_if(|left| left.priority > node.priority) {
                std::mem::swap(node, &mut top);
                top.left = node.right.take();
                top.refresh();
                node.right = Some(top);
            }
        }
        Ordering::Greater => {
            update(&mut node.right, interval, change);
            if let Some(mut top) = node.right.take_if(|right| right.priority > node.priority) {
                std::mem::swap(node, &mut top);
                top.right = node.left.take();
                top.refresh();
                node.left = Some(top);
            }
        }
    }
    node.refresh();
}

fn remove_if<V>(link: &mut Link<V>, interval: &Interval, change: impl FnOnce(&mut V) -> bool) {
    let Some(node) = link else { return };
    match interval.cmp(&node.interval) {
        Ordering::Equal => {
            if change(&mut node.value) {
                *link = merge(node.left.take(), node.right.take());
            }
            return;
        }
        Ordering::Less => remove_if(&mut node.left, interval, change),
        Ordering::Greater => remove_if(&mut node.right, interval, change),
    }
    node.refresh();
}

/// One tree of two, where all of the first come before all of the second.
fn merge<V>(first: Link<V>, second: Link<V>) -> Link<V> {
    let (mut first, mut second) = match (first, second) {
        (Some(first), Some(second)) => (first, second),
        (one, other) => return one.or(other),
    };
    if first.priority > second.priority {
        first.right = merge(first.right.take(), Some(second));
        first.refresh();
        Some(first)
    } else {
        second.left = merge(Some(first), second.left.take());
        second.refresh();
        Some(second)
    }
}

impl<V> Node<V> {
    /// Looks again at how far those below it reach.
    fn refresh(&mut self) {
        let below = [&self.left, &self.right].into_iter().flatten().map(|node| &node.furthest);
        let furthest = below.fold(&self.interval.end, |one, other| one.max(other)).clone();
        self.furthest = furthest;
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn key() -> impl Strategy<Value = Bytes> {
        vec(0_u8..4, 0..3).prop_map(Bytes::from)
    }

    fn range() -> impl Strategy<Value = KeyRange> {
        let range = (key(), proptest::option::of(key())).prop_map(|(start, end)| KeyRange::between(start, end));
        range.prop_filter("not empty", |range| !range.is_empty())
    }

    /// Depth, after a look at what must hold.
    fn depth(node: Option<&Node<usize>>) -> usize {
        let Some(node) = node else { return 0 };
        for below in [&node.left, &node.right].into_iter().flatten() {
            assert!(below.priority <= node.priority && below.furthest <= node.furthest);
        }
        1 + depth(node.left.as_deref()).max(depth(node.right.as_deref()))
    }

    proptest! {
        #[test]
        fn finds_what_a_scan_finds(steps in vec((range(), any::<bool>()), 0..60), keys in vec(key(), 1..20)) {
            let mut intervals = Intervals::<usize>::default();
            let mut model = std::collections::BTreeMap::<KeyRange, usize>::new();
            for (number, (range, adds)) in steps.into_iter().enumerate() {
                if adds {
                    intervals.update(&range, |value| *value = number);
                    model.insert(range, number);
                } else {
                    // Some range that there is, if there is one after this.
                    let range = model.range(range.clone()..).next().map_or(range, |(range, _)| range.clone());
                    intervals.remove_if(&range, |_| true);
                    model.remove(&range);
                }
                depth(intervals.root.as_deref());
            }
            for key in keys {
                let mut found = Vec::new();
                intervals.find(&key, &mut |value| found.push(*value));
                let mut scanned: Vec<_> =
                    model.iter().filter(|(range, _)| range.contains(&key)).map(|(_, value)| *value).collect();
                found.sort_unstable();
                scanned.sort_unstable();
                prop_assert_eq!(found, scanned);
            }
            for range in model.keys() {
                intervals.remove_if(range, |_| false);
                prop_assert!(!intervals.is_empty(), "kept");
                intervals.remove_if(range, |_| true);
            }
            prop_assert!(intervals.is_empty());
        }
    }

    #[test]
    fn is_shallow_when_ranges_come_in_order() {
        let mut intervals = Intervals::<usize>::default();
        for number in 0..10_000 {
            let key = |number: usize| Bytes::from(format!("{number:05}"));
            intervals.update(&KeyRange::between(key(number), Some(key(number + 2))), |value| *value = number);
        }
        assert!(depth(intervals.root.as_deref()) < 100);
        let mut found = Vec::new();
        intervals.find(b"07000", &mut |value| found.push(*value));
        assert_eq!(found, [6999, 7000]);
    }
}
