//! Regular expressions that match one text in so many ways that trying all of them does not end.
//!
//! PCRE goes back and tries the next way when the rest does not match. The number of ways grows exponentially with the
//! text if, and only if, some state of the automaton that an expression stands for can be left and come back to by one
//! text in two ways ("exponential degree of ambiguity"). The automaton is Glushkov's: a state for each character or
//! class of the expression.

use std::collections::{BTreeMap, BTreeSet};

use regex_syntax::ast::parse::Parser;
use regex_syntax::ast::{Ast, Flag, Flags, GroupKind, RepetitionKind, RepetitionRange};
use regex_syntax::hir::translate::TranslatorBuilder;
use regex_syntax::hir::{Class, HirKind};

/// Most states. Longer expressions are not looked at, as repetitions with bounds are written out.
const STATES: usize = 100;

/// Most steps, at most some milliseconds.
const STEPS: usize = 50_000;

/// Whether it is so; none if that takes too long to find out, or it is not valid.
pub(super) fn is_exponential(pattern: &str) -> Option<bool> {
    let ast = Parser::new().parse(pattern).ok()?;
    let mut automaton = Automaton { pattern, any_case: false, classes: Vec::new(), follow: Vec::new() };
    automaton.part(&ast)?;
    automaton.is_exponential()
}

/// Characters from one to another.
type Ranges = Vec<(char, char)>;

struct Automaton<'a> {
    pattern: &'a str,
    any_case: bool,
    /// What each state reads.
    classes: Vec<Ranges>,
    /// The states that come after each, with the number of ways that the expression says so.
    follow: Vec<BTreeMap<usize, u8>>,
}

/// What a part of an expression adds.
#[derive(Clone, Debug, Default)]
struct Part {
    may_be_empty: bool,
    first: Vec<usize>,
    last: Vec<usize>,
}

impl Part {
    fn empty() -> Self {
        Self { may_be_empty: true, ..Self::default() }
    }
}

impl Automaton<'_> {
    fn part(&mut self, ast: &Ast) -> Option<Part> {
        Some(match ast {
            Ast::Empty(_) | Ast::Assertion(_) => Part::empty(),
            Ast::Flags(flags) => {
                self.take_flags(&flags.flags);
                Part::empty()
            }
            Ast::Literal(_) | Ast::Dot(_) | Ast::ClassUnicode(_) | Ast::ClassPerl(_) | Ast::ClassBracketed(_) => {
                self.state(ast)?
            }
            Ast::Group(group) => {
                if let GroupKind::NonCapturing(flags) = &group.kind {
                    self.take_flags(flags);
                }
                self.part(&group.ast)?
            }
            Ast::Alternation(all) => {
                let mut sum = Part::default();
                for one in &all.asts {
                    let one = self.part(one)?;
                    sum.may_be_empty |= one.may_be_empty;
                    sum.first.extend(one.first);
                    sum.last.extend(one.last);
                }
                sum
            }
            Ast::Concat(all) => {
                let mut sum = Part::empty();
                for one in &all.asts {
                    let one = self.part(one)?;
                    sum = self.then(sum, one);
                }
                sum
            }
            Ast::Repetition(repetition) => {
                let (least, most) = match &repetition.op.kind {
                    RepetitionKind::ZeroOrOne => (0, Some(1)),
                    RepetitionKind::ZeroOrMore => (0, None),
                    RepetitionKind::OneOrMore => (1, None),
                    RepetitionKind::Range(RepetitionRange::Exactly(count)) => (*count, Some(*count)),
                    RepetitionKind::Range(RepetitionRange::AtLeast(least)) => (*least, None),
                    RepetitionKind::Range(RepetitionRange::Bounded(least, most)) => (*least, Some(*most)),
                };
                self.repeated(&repetition.ast, least, most)?
            }
        })
    }

    /// Flags hold for all that follows, which is more than they do.
    fn take_flags(&mut self, flags: &Flags) {
        self.any_case |= flags.flag_state(Flag::CaseInsensitive) == Some(true);
    }

    fn state(&mut self, leaf: &Ast) -> Option<Part> {
        if self.classes.len() == STATES {
            return None;
        }
        let mut translator =
            TranslatorBuilder::new().case_insensitive(self.any_case).dot_matches_new_line(true).utf8(false).build();
        let hir = translator.translate(self.pattern, leaf).ok()?;
        let ranges = match hir.kind() {
            HirKind::Literal(text) => {
                let text = std::str::from_utf8(&text.0).ok()?;
                text.chars().map(|c| (c, c)).collect()
            }
            HirKind::Class(Class::Unicode(class)) => class.iter().map(|range| (range.start(), range.end())).collect(),
            HirKind::Class(Class::Bytes(class)) => {
                class.iter().map(|range| (char::from(range.start()), char::from(range.end()))).collect()
            }
            _ => return None,
        };
        let state = self.classes.len();
        self.classes.push(ranges);
        self.follow.push(BTreeMap::new());
        Some(Part { may_be_empty: false, first: vec![state], last: vec![state] })
    }

    fn connect(&mut self, last: &[usize], first: &[usize]) {
        for from in last {
            for to in first {
                let ways = self.follow[*from].entry(*to).or_default();
                *ways = ways.saturating_add(1);
            }
        }
    }

    /// One part after another.
    fn then(&mut self, before: Part, after: Part) -> Part {
        self.connect(&before.last, &after.first);
        let mut part = Part { may_be_empty: before.may_be_empty && after.may_be_empty, ..before };
        if before.may_be_empty {
            part.first.extend(after.first);
        }
        if !after.may_be_empty {
            part.last.clear();
        }
        part.last.extend(after.last);
        part
    }

    fn repeated(&mut self, ast: &Ast, least: u32, most: Option<u32>) -> Option<Part> {
        let mut sum = Part::empty();
        let copies = most.unwrap_or(least.max(1));
        for copy in 0..copies {
            // What has no states is nothing, however often.
            let before = self.classes.len();
            let mut one = self.part(ast)?;
            if self.classes.len() == before {
                return Some(Part::empty());
            }
            one.may_be_empty |= copy >= least;
            if most.is_none() && copy + 1 == copies {
                self.connect(&one.last.clone(), &one.first.clone());
            }
            sum = self.then(sum, one);
        }
        Some(sum)
    }

    fn is_exponential(&self) -> Option<bool> {
        let mut steps = STEPS;
        let overlap: Vec<Vec<bool>> =
            self.classes.iter().map(|a| self.classes.iter().map(|b| meet(a, b)).collect()).collect();
        for state in 0..self.classes.len() {
            if self.comes_back_twice(state, &overlap, &mut steps)? {
                return Some(true);
            }
        }
        Some(false)
    }

    /// Whether a state is left and come back to by one text in two ways.
    fn comes_back_twice(&self, state: usize, overlap: &[Vec<bool>], steps: &mut usize) -> Option<bool> {
        // Two walks, and whether they have been apart.
        let mut seen = BTreeSet::new();
        let mut next = vec![(state, state, false)];
        while let Some((a, b, apart)) = next.pop() {
            for (to_a, ways) in &self.follow[a] {
                for to_b in self.follow[b].keys() {
                    *steps = steps.checked_sub(1)?;
                    if !overlap[*to_a][*to_b] {
                        continue;
                    }
                    // The same step in two ways is as good as two steps.
                    let apart = apart || to_a != to_b || (a == b && *ways > 1);
                    let to = (*to_a, *to_b, apart);
                    if to == (state, state, true) {
                        return Some(true);
                    }
                    if seen.insert(to) {
                        next.push(to);
                    }
                }
            }
        }
        Some(false)
    }
}

/// Whether a character is in both.
fn meet(a: &Ranges, b: &Ranges) -> bool {
    a.iter().any(|(from, to)| b.iter().any(|(start, end)| from <= end && start <= to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_multiply_or_they_do_not() {
        let slow = [
            "(a|a)+",
            "(a*)*",
            "(a+)+$",
            "(a|aa)+",
            "(a?b?)*",
            "([a-z]+/?)*",
            r"(\w+\s?)*",
            "(.*,)*",
            "(a{1,3})+",
            "(?i)(a|A)+",
            "(é|[à-ü])+",
            "x(y(z|z)*)+",
            "(a|b|ab)*",
        ];
        let quick = [
            "",
            "a",
            "(a|b)+",
            "(a|b|cd)*",
            "(ab+)+",
            "([a-z]+/)*",
            "(a{3})+",
            ".*.*.*",
            "/v[0-9]+/(users|groups)/.*",
            "(a|A)+",
            "(a|aa)(b|bb)",
            "(?:)*",
            "(^)*a",
        ];
        for pattern in slow {
            assert_eq!(is_exponential(pattern), Some(true), "{pattern}");
        }
        for pattern in quick {
            assert_eq!(is_exponential(pattern), Some(false), "{pattern}");
        }
    }

    #[test]
    fn what_is_too_large_is_not_said() {
        assert_eq!(is_exponential(&"a".repeat(STATES + 1)), None);
        assert_eq!(is_exponential("(a|b){100}"), None);
        assert_eq!(is_exponential("(("), None);
        // Every state follows every other.
        let all = (0..STATES)
            .map(|number| char::from_u32(0x100 + u32::try_from(number).expect("small")).expect("a character"));
        let all: Vec<String> = all.map(String::from).collect();
        assert_eq!(is_exponential(&format!("({})+", all.join("|"))), None);
    }
}
