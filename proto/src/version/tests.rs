//! Tests of version vectors: the laws that causality rests on.
#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

fn vector() -> impl Strategy<Value = VersionVector> {
    // Few devices and small counters, so that every relation occurs.
    prop::collection::vec((0u8..4, 0u64..4), 0..6).prop_map(|components| {
        let add = |vector: VersionVector, (device, counter)| vector.with(DeviceId([device; 16]), counter);
        components.into_iter().fold(VersionVector::default(), add)
    })
}

proptest! {
    #[test]
    fn having_seen_is_a_partial_order(a in vector(), b in vector(), c in vector()) {
        prop_assert!(a.has_seen(&a));
        prop_assert_eq!(a.has_seen(&b) && b.has_seen(&a), a == b);
        prop_assert!(!(a.has_seen(&b) && b.has_seen(&c)) || a.has_seen(&c));
    }

    #[test]
    fn comparing_is_antisymmetric(a in vector(), b in vector()) {
        let mirrored = match b.compare(&a) {
            Causality::Dominates => Causality::Dominated,
            Causality::Dominated => Causality::Dominates,
            same => same,
        };
        prop_assert_eq!(a.compare(&b), mirrored);
        prop_assert_eq!(a.compare(&b) == Causality::Equal, a == b);
    }

    #[test]
    fn joining_is_the_least_upper_bound(a in vector(), b in vector(), c in vector()) {
        let joined = a.clone().joined(&b);
        prop_assert!(joined.has_seen(&a) && joined.has_seen(&b));
        prop_assert!(!(c.has_seen(&a) && c.has_seen(&b)) || c.has_seen(&joined));
    }

    #[test]
    fn joining_is_commutative_associative_idempotent(a in vector(), b in vector(), c in vector()) {
        prop_assert_eq!(a.clone().joined(&b), b.clone().joined(&a));
        prop_assert_eq!(a.clone().joined(&b).joined(&c), a.clone().joined(&b.clone().joined(&c)));
        prop_assert_eq!(a.clone().joined(&a), a);
    }

    #[test]
    fn a_raised_component_dominates(a in vector(), device in 0u8..5) {
        let device = DeviceId([device; 16]);
        let raised = a.clone().with(device, a.get(device) + 1);
        prop_assert_eq!(raised.compare(&a), Causality::Dominates);
        prop_assert_eq!(raised.get(device), a.get(device) + 1);
    }

    #[test]
    fn zeros_are_never_stored(a in vector()) {
        prop_assert!(a.iter().all(|(_, counter)| counter > 0));
        prop_assert_eq!(a.is_empty(), a.device_count() == 0);
        prop_assert_eq!(a.clone().with(DeviceId([99; 16]), 0), a);
    }

    #[test]
    fn both_encodings_round_trip(a in vector()) {
        let json = serde_json::to_vec(&a).unwrap();
        prop_assert_eq!(&serde_json::from_slice::<VersionVector>(&json).unwrap(), &a);
        let binary = crate::api::to_binary(&a);
        prop_assert_eq!(&crate::api::from_binary::<VersionVector>(&binary).unwrap(), &a);
    }
}

#[test]
fn a_zero_on_the_wire_equals_a_missing_component() {
    let zero: VersionVector = serde_json::from_str(&format!("{{\"{}\":0}}", DeviceId([1; 16]))).unwrap();
    assert_eq!(zero, VersionVector::default());
}

#[test]
fn a_map_in_any_order_is_read() {
    let (a, b) = (DeviceId([1; 16]), DeviceId([2; 16]));
    let read = |text: String| serde_json::from_str::<VersionVector>(&text).unwrap();
    let both = VersionVector::default().with(a, 3).with(b, 4);
    assert_eq!(read(format!(r#"{{"{b}":4,"{a}":3}}"#)), both);
    assert_eq!(read(format!(r#"{{"{a}":1,"{b}":4,"{a}":3}}"#)), both, "the last one counts");
    assert_eq!(read(format!(r#"{{"{a}":0,"{b}":4}}"#)), both.without(a));
    assert_eq!(read("{}".to_owned()), VersionVector::default());
    assert!(serde_json::from_str::<VersionVector>("[]").is_err());
}
