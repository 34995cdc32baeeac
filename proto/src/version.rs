//! Owns version vectors, which alone decide causality. Wall-clock time decides nothing.

use crate::ids::DeviceId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a content has seen: per device the counter of its last operation that went into it.
/// A missing device counts as 0 and zeros are never stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(from = "BTreeMap<DeviceId, u64>")]
pub struct VersionVector(BTreeMap<DeviceId, u64>);

impl From<BTreeMap<DeviceId, u64>> for VersionVector {
    fn from(mut components: BTreeMap<DeviceId, u64>) -> Self {
        components.retain(|_, counter| *counter > 0);
        Self(components)
    }
}

impl Serialize for VersionVector {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
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
        self.0.get(&device).copied().unwrap_or(0)
    }

    /// The same vector with a device's component raised to at least `counter`.
    #[must_use]
    pub fn with(mut self, device: DeviceId, counter: u64) -> Self {
        let component = self.0.entry(device).or_insert(0);
        *component = counter.max(*component);
        if *component == 0 {
            self.0.remove(&device);
        }
        self
    }

    /// The least vector that has seen both.
    #[must_use]
    pub fn joined(mut self, other: &Self) -> Self {
        for (&device, &counter) in &other.0 {
            self = self.with(device, counter);
        }
        self
    }

    /// Whether this vector has seen everything that `other` has.
    pub fn has_seen(&self, other: &Self) -> bool {
        other.0.iter().all(|(&device, &counter)| self.get(device) >= counter)
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
        self.0.iter().map(|(&device, &counter)| (device, counter))
    }

    /// The same vector without a removed device's component.
    #[must_use]
    pub fn without(mut self, device: DeviceId) -> Self {
        self.0.remove(&device);
        self
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
