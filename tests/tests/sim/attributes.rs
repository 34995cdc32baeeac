//! Owns what people do to attributes.

use super::user::{Done, User};
use std::collections::BTreeMap;
use tarn_proto::node::{AttrChange, ByteString};

impl User<'_> {
    fn set_attrs(&mut self, change: &AttrChange) -> Done {
        let spot = self.any_spot(|_| true)?;
        let seen = self.seen(spot.ino)?;
        self.life.tree.set_attrs(spot.ino, change)?;
        self.oracle.touch(self.who, &seen);
        Ok(format!("set attributes of {:?}", spot.ino))
    }

    pub fn chmod(&mut self) -> Done {
        let mode = Some(0o400 + self.dice.below(0o377) as u32);
        self.set_attrs(&AttrChange { mode, ..AttrChange::default() })
    }

    pub fn xattr(&mut self) -> Done {
        let value = self.dice.chance(700).then(|| ByteString(self.dice.roll().to_le_bytes().to_vec()));
        let xattrs = BTreeMap::from([(format!("user.{}", self.dice.below(3)), value)]);
        self.set_attrs(&AttrChange { xattrs, ..AttrChange::default() })
    }
}
