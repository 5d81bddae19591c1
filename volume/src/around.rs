//! Something that is done around every call over a seam: calls are counted, timed, traced, or made to fail on purpose.
//!
//! The traits of the seams have many methods. [`Surrounded`] implements each trait once, for whatever is done around it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use crate::error::Result;

/// What is done around the calls over a seam. `call` names the side and the method: `provisioner.create`, `attacher.attach`.
pub trait Around: Send + Sync + fmt::Debug {
    /// Does `work`, which may block.
    fn blocking<T>(&self, call: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T>;

    /// Does `work`, which waits without blocking. Dropping the future abandons it.
    fn waiting<T: Send>(
        &self,
        call: &'static str,
        work: impl Future<Output = Result<T>> + Send,
    ) -> impl Future<Output = Result<T>> + Send;
}

/// Something behind a seam, with [`Around`] in front of it.
#[derive(Debug)]
pub struct Surrounded<T: ?Sized, A> {
    /// What the calls are passed on to.
    pub inner: Arc<T>,
    /// What is done around them.
    pub around: A,
}

impl<T: ?Sized, A> Surrounded<T, A> {
    /// Puts `around` in front of `inner`.
    pub fn new(inner: Arc<T>, around: A) -> Self {
        Self { inner, around }
    }
}

/// Methods of a trait that pass a call on through [`Around::blocking`], under the name `$side.method`.
#[macro_export]
macro_rules! surrounded_methods {
    ($side:literal $(fn $method:ident(&self $(, $argument:ident: $type:ty)*) -> Result<$answer:ty>;)*) => {
        $(
            fn $method(&self $(, $argument: $type)*) -> Result<$answer> {
                self.around.blocking(concat!($side, ".", stringify!($method)), || self.inner.$method($($argument),*))
            }
        )*
    };
}
