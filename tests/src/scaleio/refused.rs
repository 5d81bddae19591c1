//! The array's refusals: sentences and numbers as recorded.

use serde_json::{Value, json};

/// A request that was not done.
#[derive(Debug, Clone)]
pub struct Refused {
    pub(crate) status: u16,
    pub(crate) code: u32,
    pub(crate) message: String,
}

impl Refused {
    fn new(code: u32, message: &str) -> Self {
        Self { status: 500, code, message: message.to_owned() }
    }

    pub(crate) fn unauthorized() -> Self {
        Self { status: 401, code: 0, message: "Unauthorized".to_owned() }
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self { status: 400, code: 0, message: message.into() }
    }

    pub(crate) fn busy() -> Self {
        Self::new(249, "The system is busy. Please try again later.")
    }

    pub(crate) fn no_permission() -> Self {
        Self { status: 403, ..Self::new(168, "You do not have permission to perform this operation.") }
    }

    pub(crate) fn not_hex() -> Self {
        Self::new(0, "id must be a hexadecimal number")
    }

    pub(crate) fn no_object() -> Self {
        Self::new(3, "Not found")
    }

    pub(crate) fn no_volume() -> Self {
        Self::new(79, "Could not find the volume")
    }

    pub(crate) fn no_sdc() -> Self {
        Self::new(80, "Could not find the SDC")
    }

    pub(crate) fn mapped_here() -> Self {
        Self::new(81, "The volume is already mapped to this SDC")
    }

    pub(crate) fn not_mapped() -> Self {
        Self::new(84, "The volume is not mapped to SDC")
    }

    pub(crate) fn name_in_use() -> Self {
        Self::new(99, "Volume name already in use. Please use a different name.")
    }

    pub(crate) fn mapped() -> Self {
        Self::new(104, "Volume is mapped")
    }

    pub(crate) fn shrink() -> Self {
        Self::new(133, "Volume capacity can only be increased")
    }

    pub(crate) fn no_domain() -> Self {
        Self::new(142, "Could not find Protection Domain")
    }

    pub(crate) fn no_pool() -> Self {
        Self::new(171, "Could not find Storage Pool")
    }

    pub(crate) fn too_many_snapshots() -> Self {
        Self::new(182, "There are too many snapshots in the VTree")
    }

    pub(crate) fn too_large() -> Self {
        Self::new(190, "The volume size too large")
    }

    pub(crate) fn no_such_pair() -> Self {
        Self::new(197, "The specified Storage Pool is not in the specified Protection Domain")
    }

    pub(crate) fn removing() -> Self {
        Self::new(212, "A volume removal operation is currently in progress.")
    }

    pub(crate) fn size_illegal() -> Self {
        Self::new(225, "The specified volume size is illegal. Volume size must be in 8 GB blocks")
    }

    pub(crate) fn long_name() -> Self {
        Self::new(226, "The given name exceeds the allowed length of 31 characters.")
    }

    pub(crate) fn bad_name() -> Self {
        Self::new(227, "The given name contains invalid characters.")
    }

    pub(crate) fn too_many_volumes_of_sdc() -> Self {
        Self::new(294, "The SDC is mapped to too many volumes")
    }

    pub(crate) fn mapped_elsewhere() -> Self {
        Self::new(297, "This volume is already mapped and may not be mapped to additional SDCs.")
    }

    pub(crate) fn pool_full() -> Self {
        Self::new(300, "Requested volume size exceeds the volume allocation limit")
    }

    pub(crate) fn not_auto_snapshot() -> Self {
        Self::new(671, "The volume is not an auto snapshot")
    }

    pub(crate) fn in_use(what: &str) -> Self {
        Self::new(0, &format!("The {what} cannot be removed while it is in use"))
    }

    /// As it is sent; 4.x has other numbers for some.
    pub(crate) fn body(&self, renumbered: bool) -> Value {
        let code = match self.code {
            81 if renumbered => 4037,
            84 if renumbered => 4039,
            code if renumbered && code > 200 => code + 3000,
            code => code,
        };
        json!({"message": self.message, "httpStatusCode": self.status, "errorCode": code})
    }
}
