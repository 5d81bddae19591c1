//! Copies of volumes.

use super::model::{Answer, Refused, World};
use super::query::Query;
use super::xml::Node;

impl World {
    /// Makes a volume as `CreateVolume` does, in the zone and with what the source has.
    pub(crate) fn copy_volume(&mut self, query: &Query) -> Answer {
        let source = self.volume(query.must("SourceVolumeId")?)?.clone();
        if query.number("Size")?.is_some_and(|size| size < source.size) {
            return Err(Refused::new("InvalidParameterValue", "The size of a copy cannot be less than that of its source."));
        }
        let mut new = query.clone();
        new.set("AvailabilityZone", &source.zone);
        for (key, value) in [("VolumeType", Some(source.kind.clone())), ("Size", Some(source.size.to_string()))] {
            if let (None, Some(value)) = (new.get(key), value) {
                new.set(key, &value);
            }
        }
        let made = self.create_volume(&new)?;
        Ok(vec![Node::Tree("volumeSet", vec![Node::Tree("item", made)])])
    }
}
