//! A translation that follows changes is the same as one from scratch, whatever the changes and their order: objects to
//! the byte, and the report.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use confcast::apisix::ObjectKey;
use confcast::envoy::{Resource, ResourceChange};
use confcast::translate::{Options, Translator, translate_all};
use proptest::prelude::*;

/// A step: resources of the pool that are set or, with none, removed; and whether the translation is brought up to date.
type Step = (Vec<(prop::sample::Index, Option<prop::sample::Index>)>, bool);

/// Names, each with the forms that its resource may have.
static POOL: LazyLock<Vec<Vec<Resource>>> = LazyLock::new(pool);

fn pool() -> Vec<Vec<Resource>> {
    let made = rcgen::generate_simple_self_signed(vec!["s.test".to_owned()]).expect("made");
    confcast::testing::pool::pool(&made.cert.pem(), &made.signing_key.serialize_pem())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let form = prop::option::weighted(0.8, any::<prop::sample::Index>());
    let change = (any::<prop::sample::Index>(), form);
    prop::collection::vec((prop::collection::vec(change, 1..6), any::<bool>()), 1..20)
}

/// What is held: resources by their place in the pool.
type Held = BTreeMap<usize, Resource>;

fn change(held: &mut Held, at: usize, form: Option<prop::sample::Index>) -> ResourceChange {
    let forms = &POOL[at];
    let Some(form) = form else {
        held.remove(&at);
        return ResourceChange::Remove(forms[0].resource_type(), forms[0].name().to_owned());
    };
    let resource = form.get(forms).clone();
    held.insert(at, resource.clone());
    ResourceChange::Set(resource)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn following_changes_is_the_same_as_starting_over(steps in steps(), seed in any::<u64>()) {
        let mut translator = Translator::new(Options::default());
        let mut held = Held::new();
        // Objects as a reader of the changes has them.
        let mut followed: BTreeMap<ObjectKey, Bytes> = BTreeMap::new();
        for (changes, flush) in steps {
            for (at, form) in changes {
                translator.apply(change(&mut held, at.index(POOL.len()), form));
            }
            if !flush {
                continue;
            }
            let changes = translator.flush();
            for object in changes.puts {
                prop_assert_ne!(followed.get(&object.key), Some(&object.value), "told without a change");
                followed.insert(object.key, object.value);
            }
            for key in changes.deletes {
                prop_assert!(followed.remove(&key).is_some(), "deleted and never there: {key:?}");
            }
            let mut resources: Vec<_> = held.values().cloned().collect();
            // The order in which they come does not matter.
            resources.rotate_left(usize::try_from(seed % 13).expect("small") % held.len().max(1));
            if seed.is_multiple_of(2) {
                resources.reverse();
            }
            let scratch = translate_all(resources, Options::default());
            let expected: BTreeMap<_, _> =
                scratch.objects.into_iter().map(|object| (object.key, object.value)).collect();
            prop_assert_eq!(&followed, &expected);
            prop_assert_eq!(&*translator.report(), &scratch.report);
        }
    }
}
