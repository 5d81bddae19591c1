//! What can still be provided.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use hawser_proto::csi;
use hawser_volume::{Access, BackendName, Deadline, Error, Kind, Listing, MkfsParameters, Result, request};

use super::Inner;
use crate::provision::{Capacity, CapacityQuery};

/// How many answers are remembered: more than anybody has profiles.
const REMEMBERED: usize = 64;

pub(super) async fn get_capacity(
    inner: &Inner,
    request: csi::GetCapacityRequest,
    _deadline: Deadline,
) -> Result<csi::GetCapacityResponse> {
    let accesses: Vec<Access> = request.volume_capabilities.iter().map(Access::try_from).collect::<Result<_>>()?;
    let mut parameters = request::parameters("parameters", &request.parameters)?;
    let (name, backend) = inner.backends.choose(&mut parameters)?;
    MkfsParameters::take_from("parameters", &mut parameters)?;
    let capabilities = backend.capabilities();
    if !accesses.iter().all(|access| capabilities.check(access).is_ok()) {
        // Volumes with a capability that the backend lacks: there is room for none of them.
        return Ok(csi::GetCapacityResponse::default());
    }
    let query = CapacityQuery { accesses, parameters, place: request.accessible_topology.map(|topology| topology.segments) };
    let answer = backend.capacity(query.clone()).await;
    let capacity = match inner.listing {
        Listing::All => answer?,
        Listing::None => inner.last_capacities.in_place_of(name, query, answer)?,
    };
    Ok(csi::GetCapacityResponse {
        available_capacity: capacity.available.to_proto(),
        maximum_volume_size: capacity.max_volume.map(|size| size.to_proto()),
        minimum_volume_size: capacity.min_volume.map(|size| size.to_proto()),
    })
}

/// The last answers to each question. Mesos' own storage provider asks no more once it was refused, or ends if that was while it subscribed
/// (Mesos 1.11, `src/resource_provider/storage/provider.cpp`, lines 1228 to 1260 and 1326 to 1341): it is told what was last known.
#[derive(Debug, Default)]
pub(super) struct LastCapacities(Mutex<Vec<Remembered>>);

#[derive(Debug)]
struct Remembered {
    backend: BackendName,
    query: CapacityQuery,
    capacity: Capacity,
    at: Instant,
}

impl LastCapacities {
    /// The answer, or the last one there was when the backend could not be asked.
    fn in_place_of(&self, backend: BackendName, query: CapacityQuery, answer: Result<Capacity>) -> Result<Capacity> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = known.iter().position(|known| known.backend == backend && known.query == query);
        match answer {
            Ok(capacity) => {
                if let Some(place) = place {
                    known.remove(place);
                } else if known.len() == REMEMBERED {
                    known.remove(0);
                }
                known.push(Remembered { backend, query, capacity, at: Instant::now() });
                Ok(capacity)
            }
            Err(error) if was_not_asked(&error) => {
                let Some(last) = place.and_then(|place| known.get(place)) else { return Err(error) };
                let age_s = last.at.elapsed().as_secs();
                tracing::warn!(%backend, age_s, error = error.chain(), "answering with the last capacity that was known");
                Ok(last.capacity)
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether this is about the way to the backend, and not about the question.
fn was_not_asked(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::Unavailable
            | Kind::DeadlineExceeded
            | Kind::Exhausted
            | Kind::Unauthenticated
            | Kind::PermissionDenied
            | Kind::Internal
    )
}

#[cfg(test)]
mod tests {
    use hawser_volume::Bytes;

    use super::*;

    #[test]
    fn what_was_last_known_is_told_of_the_same_question_only() {
        let last = LastCapacities::default();
        let backend: BackendName = "fast".parse().unwrap();
        let of = |pool: &str| CapacityQuery { parameters: [("pool".into(), pool.into())].into(), ..CapacityQuery::default() };
        let room = |gib| Capacity { available: Bytes::gib(gib), min_volume: None, max_volume: None };
        let silence = || Err(Error::unavailable("no answer"));
        let kind = |answer: Result<Capacity>| answer.unwrap_err().kind();

        assert_eq!(kind(last.in_place_of(backend.clone(), of("a"), silence())), Kind::Unavailable);
        for gib in [7, 5] {
            assert_eq!(last.in_place_of(backend.clone(), of("a"), Ok(room(gib))).unwrap(), room(gib));
        }
        assert_eq!(last.in_place_of(backend.clone(), of("a"), silence()).unwrap(), room(5));
        assert_eq!(kind(last.in_place_of(backend.clone(), of("b"), silence())), Kind::Unavailable);
        assert_eq!(kind(last.in_place_of("slow".parse().unwrap(), of("a"), silence())), Kind::Unavailable);
        let refusal = Err(Error::invalid("parameters: no such pool"));
        assert_eq!(kind(last.in_place_of(backend.clone(), of("a"), refusal)), Kind::Invalid);
        for number in 0..REMEMBERED {
            last.in_place_of(backend.clone(), of(&number.to_string()), Ok(room(1))).unwrap();
        }
        assert_eq!(kind(last.in_place_of(backend, of("a"), silence())), Kind::Unavailable);
        assert_eq!(last.0.lock().unwrap().len(), REMEMBERED);
    }
}
