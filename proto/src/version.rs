//! Owns version vectors, which alone decide causality. Wall-clock time decides nothing.

use crate::ids::DeviceId;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// What a content has seen: per device the counter of its last operation that went into it.
/// A missing device counts as 0 and zeros are never stored. Most have one component, and there is one of them for each file in
/// memory: they are a slice in the order of devices, which takes a tenth of a map's node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct VersionVector(Box<[(DeviceId, u64)]>);

impl From<BTreeMap<DeviceId, u64>> for VersionVector {
    fn from(components: BTreeMap<DeviceId, u64>) -> Self {
        Self(components.into_iter().filter(|(_, counter)| *counter > 0).collect())
    }
}

/// A map from device to counter.
impl Serialize for VersionVector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for VersionVector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Components)
    }
}

/// Reads a map; of a device that is named twice the last counter counts.
struct Components;

impl<'de> Visitor<'de> for Components {
    type Value = VersionVector;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from device to counter")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<VersionVector, A::Error> {
        let Some(first) = map.next_entry()? else { return Ok(VersionVector::default()) };
        let mut components = vec![first];
        while let Some(component) = map.next_entry()? {
            components.push(component);
        }
        let is_ordered = components.is_sorted_by(|(a, _), (b, _): &(DeviceId, u64)| a < b);
        if is_ordered && components.iter().all(|(_, counter)| *counter > 0) {
            return Ok(VersionVector(components.into()));
        }
        Ok(components.into_iter().collect::<BTreeMap<DeviceId, u64>>().into())
    }
}

/// How two vectors stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Causality {
    /// The same.
    Equal,
    /// The left one has seen all of the right one, and more.
    Dominates,
    /// The right one has seen all of the left one, and more.
    Dominated,
    /// Each has something that the other has not seen.
    Concurrent,
}

impl VersionVector {
    /// The component of a device, 0 if it has none.
    pub fn get(&self, device: DeviceId) -> u64 {
        self.0.binary_search_by_key(&device, |component| component.0).map_or(0, |at| self.0[at].1)
    }

    /// The same vector with a device's component raised to at least `counter`.
    #[must_use]
    pub fn with(mut self, device: DeviceId, counter: u64) -> Self {
        match self.0.binary_search_by_key(&device, |component| component.0) {
            Ok(at) => self.0[at].1 = counter.max(self.0[at].1),
            Err(_) if counter == 0 => {}
            Err(at) => {
                let (before, behind) = self.0.split_at(at);
                self.0 = [before, &[(device, counter)], behind].concat().into();
            }
        }
        self
    }

    /// The least vector that has seen both.
    #[must_use]
    pub fn joined(mut self, other: &Self) -> Self {
        for (device, counter) in other.iter() {
            self = self.with(device, counter);
        }
        self
    }

    /// Whether this vector has seen everything that `other` has.
    pub fn has_seen(&self, other: &Self) -> bool {
        other.iter().all(|(device, counter)| self.get(device) >= counter)
    }

    /// How this vector stands to `other`.
    pub fn compare(&self, other: &Self) -> Causality {
        match (self.has_seen(other), other.has_seen(self)) {
            (true, true) => Causality::Equal,
            (true, false) => Causality::Dominates,
            (false, true) => Causality::Dominated,
            (false, false) => Causality::Concurrent,
        }
    }

    /// Number of devices with a component.
    pub fn device_count(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing has been seen.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The components, ordered by device.
    pub fn iter(&self) -> impl Iterator<Item = (DeviceId, u64)> + '_ {
        self.0.iter().copied()
    }

    /// The same vector without a removed device's component.
    #[must_use]
    pub fn without(self, device: DeviceId) -> Self {
        Self(self.0.into_iter().filter(|(other, _)| *other != device).collect())
    }
}

#[cfg(feature = "openapi")]
impl utoipa::__dev::ComposeSchema for VersionVector {
    fn compose(
        _: Vec<utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>>,
    ) -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        <BTreeMap<String, u64> as utoipa::PartialSchema>::schema()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for VersionVector {}

#[cfg(test)]
mod tests;
