//! What there is: one volume, all of them, how they are, and how much there may yet be.

use std::future::Future;
use std::time::{Duration, SystemTime};

use hawser_ebs::label;
use hawser_ebs::refusal::Refusal;
use hawser_ebs::volume::{Attachment, AttachmentState, Health, Volume as Found, VolumeState};
use hawser_volume::{Bytes, Deadline, Error, Kind, NodeId, Result};

use super::template::Fields;
use super::wishes::Wishes;
use super::{Ebs, READING, is_there};
use crate::provision::{Capacity, CapacityQuery, Page, VolumeStatus};

/// After this many seconds in `attaching` or `detaching` an attachment is stuck.
const STUCK: u64 = 90;

/// Fewest and most items of a page of EC2's.
const PAGE: (usize, usize) = (5, 1000);

/// Where a listing goes on: a page of EC2's, and which of its items were given already. EC2 gives no fewer than five at a time, so these
/// are four at most; they are named, not counted, because some may go until the page is asked for again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    token: Option<String>,
    given: Vec<String>,
}

impl Cursor {
    pub(super) fn parse(text: Option<&str>) -> Result<Self> {
        let Some(text) = text else { return Ok(Self::default()) };
        let bad = || Error::bad_token("starting_token is not one of this plugin's; start over without a token");
        let (given, token) = text.split_once('@').ok_or_else(bad)?;
        let given: Vec<String> = given.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect();
        if given.iter().any(|id| !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')) {
            return Err(bad());
        }
        Ok(Self { token: (!token.is_empty()).then(|| token.to_owned()), given })
    }

    fn text(&self) -> String {
        format!("{}@{}", self.given.join(","), self.token.as_deref().unwrap_or_default())
    }
}

/// A page of at most `max` items from `cursor` on, and what the next one comes after; `ask` asks EC2 for one of its own, and `id` is what
/// an item is named by.
pub(super) async fn page<T, F>(
    mut cursor: Cursor,
    max: usize,
    id: impl Fn(&T) -> &str,
    ask: impl Fn(u32, Option<String>) -> F,
) -> Result<(Vec<T>, Option<String>)>
where
    F: Future<Output = Result<(Vec<T>, Option<String>), Refusal>>,
{
    let mut items = Vec::new();
    loop {
        let room = max - items.len();
        let size = room.saturating_add(cursor.given.len()).clamp(PAGE.0, PAGE.1);
        let asked = ask(u32::try_from(size).unwrap_or(u32::MAX), cursor.token.clone()).await;
        let (mut found, next) = asked.map_err(|refusal| {
            let is_token = refusal.code().contains("Token") || refusal.code().contains("Pagination");
            match cursor.token {
                Some(_) if is_token => refusal.while_doing("starting_token").with_kind(Kind::BadToken),
                _ => refusal.while_doing("list"),
            }
        })?;
        found.retain(|item| !cursor.given.iter().any(|given| given == id(item)));
        let more = found.len() > room;
        found.truncate(room);
        if more {
            cursor.given.extend(found.iter().map(|item| id(item).to_owned()));
        }
        items.append(&mut found);
        cursor = match next {
            _ if more => cursor,
            None => return Ok((items, None)),
            next => Cursor { token: next, given: Vec::new() },
        };
        if items.len() == max {
            return Ok((items, Some(cursor.text())));
        }
    }
}

impl Ebs {
    pub(super) async fn volume_status(&self, native: &str) -> Result<VolumeStatus> {
        let deadline = Deadline::after(READING);
        let found = self.look(native, deadline).await?;
        let health = self.account.health.get(native, deadline).await;
        let health = health.map_err(|refusal| refusal.while_doing(format_args!("ask how volume {native} is")))?;
        self.status(&found, health.as_ref())
    }

    pub(super) async fn list_volumes(&self, after: Option<&str>, max: usize) -> Result<Page<VolumeStatus>> {
        let deadline = Deadline::after(READING);
        let (filter, own) = (format!("tag:{}", label::VOLUME), [label::any_of(&self.config.cluster)]);
        let (filter, own) = (filter.as_str(), own.as_slice());
        let (found, next) = page(
            Cursor::parse(after)?,
            max,
            |volume: &Found| &volume.id,
            |size, token| async move { self.account.ec2.list_volumes(filter, own, size, token.as_deref(), deadline).await },
        )
        .await
        .map_err(|error| error.while_doing("list volumes"))?;
        let found: Vec<Found> = found.into_iter().filter(is_there).collect();
        let health = self.account.health.get_all(found.iter().map(|volume| volume.id.clone()), deadline).await;
        let health = health.map_err(|refusal| refusal.while_doing("ask how volumes are"))?;
        let items = found.iter().map(|volume| self.status(volume, health.get(&volume.id))).collect::<Result<_>>()?;
        Ok(Page { items, next })
    }

    fn status(&self, found: &Found, health: Option<&Health>) -> Result<VolumeStatus> {
        let holds = |attachment: &&Attachment| attachment.state != AttachmentState::Detached;
        let nodes = found.attachments.iter().filter(holds).map(|attachment| attachment.instance.parse::<NodeId>());
        let trouble = trouble(found, health, |attachment| self.memory.ending(attachment));
        Ok(VolumeStatus { volume: self.volume_of(found)?, nodes: nodes.collect::<Result<_>>()?, trouble })
    }

    pub(super) async fn left(&self, query: CapacityQuery) -> Result<Capacity> {
        let deadline = Deadline::after(READING);
        let wishes = Wishes::read(&query.parameters, &query.accesses, &Fields::new(), &self.config)?;
        let rule = wishes.kind.unwrap_or_default().rule(0);
        let here = match &query.place {
            None => true,
            Some(place) => self.place(place, deadline).await?.is_some(),
        };
        let available = match self.config.capacity {
            Some(capacity) if here => capacity.saturating_sub(self.taken(deadline).await?),
            _ => Bytes::ZERO,
        };
        Ok(Capacity { available, min_volume: Some(rule.min), max_volume: Some(rule.max) })
    }

    /// What all volumes of this cluster have.
    async fn taken(&self, deadline: Deadline) -> Result<Bytes> {
        let (filter, own) = (format!("tag:{}", label::VOLUME), [label::any_of(&self.config.cluster)]);
        let found = self.account.ec2.describe_volumes(&filter, &own, deadline);
        let found = found.await.map_err(|refusal| refusal.while_doing("count what all volumes have"))?;
        Ok(found
            .iter()
            .filter(|volume| is_there(volume))
            .fold(Bytes::ZERO, |sum, volume| sum.saturating_add(Bytes::gib(volume.size))))
    }
}

/// What is wrong with a volume: its own state, attachments that do not get on, and what EC2 says. `ending` is for how long one has been seen
/// to end.
fn trouble(found: &Found, health: Option<&Health>, ending: impl Fn(&Attachment) -> Option<Duration>) -> Option<String> {
    let mut all = Vec::new();
    if found.state == VolumeState::Error {
        all.push("EC2 could not make it; delete it".to_owned());
    }
    for attachment in &found.attachments {
        let Attachment { instance, state, .. } = attachment;
        let age = attachment.since.and_then(|since| SystemTime::now().duration_since(since).ok()).map_or(0, |age| age.as_secs());
        match state {
            AttachmentState::Attaching if age > STUCK => {
                all.push(format!(
                    "it is attaching to {instance} for {age} s; detach it, and stop and start the instance if that does not help"
                ));
            }
            AttachmentState::Busy => {
                let age = ending(attachment).unwrap_or_default().as_secs();
                all.push(format!(
                    "it cannot leave {instance}, which still uses it, as has been seen for {age} s; unmount it there"
                ));
            }
            AttachmentState::Detaching => {
                let age = ending(attachment).unwrap_or_default().as_secs();
                if age > STUCK {
                    all.push(format!(
                        "it has been seen to be detaching from {instance} for {age} s; see whether the instance still uses it, and stop it if \
                         that does not help"
                    ));
                }
            }
            _ => {}
        }
    }
    all.extend(health.and_then(Health::trouble));
    (!all.is_empty()).then(|| all.join("; "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// What there is of `all`, by pages of five at least, as EC2 gives it.
    async fn ask(all: &[usize], size: u32, token: Option<String>) -> Result<(Vec<String>, Option<String>), Refusal> {
        let from: usize = token.map_or(0, |token| token.parse().unwrap());
        let rest: Vec<usize> = all.iter().copied().filter(|number| *number >= from).collect();
        let (page, more) = rest.split_at(rest.len().min(usize::try_from(size).unwrap()));
        Ok((page.iter().map(|number| format!("vol-{number}")).collect(), more.first().map(ToString::to_string)))
    }

    /// All pages of `max` items, of what is there at the time.
    async fn given(all: usize, max: usize, mut goes: impl FnMut(&mut Vec<usize>)) -> Vec<Vec<String>> {
        let (mut pages, mut after, mut all) = (Vec::new(), None::<String>, (0..all).collect::<Vec<_>>());
        loop {
            let cursor = Cursor::parse(after.as_deref()).unwrap();
            let (items, next) = page(cursor, max, String::as_str, |size, token| ask(&all, size, token)).await.unwrap();
            pages.push(items);
            match next {
                None => return pages,
                next => after = next,
            }
            goes(&mut all);
        }
    }

    #[tokio::test]
    async fn pages_of_any_size_have_each_item_once() {
        for all in [0, 1, 4, 5, 6, 11, 1500] {
            for max in [1, 2, 3, 5, 7, 1000, usize::MAX] {
                if all > 100 && max < 5 {
                    continue;
                }
                let pages = given(all, max, |_| {}).await;
                assert!(pages.iter().all(|page| page.len() <= max), "{all} {max}");
                let whole: Vec<String> = (0..all).map(|number| format!("vol-{number}")).collect();
                assert_eq!(pages.concat(), whole, "{all} {max}");
            }
        }
    }

    #[tokio::test]
    async fn what_goes_meanwhile_hides_nothing() {
        for max in [1, 2, 3, 4] {
            let mut first = true;
            let pages = given(11, max, |all| {
                if std::mem::take(&mut first) {
                    all.remove(0);
                }
            })
            .await;
            let whole: Vec<String> = (0..11).map(|number| format!("vol-{number}")).collect();
            assert_eq!(pages.concat(), whole, "{max}");
        }
    }

    #[test]
    fn what_is_no_cursor_is_a_bad_token() {
        for text in ["", "x", "x y@z", "vol-1;vol-2@"] {
            assert_eq!(Cursor::parse(Some(text)).unwrap_err().kind(), Kind::BadToken, "{text}");
        }
        let cursor = Cursor { token: Some("a@b".to_owned()), given: vec!["vol-1".to_owned(), "vol-2".to_owned()] };
        assert_eq!(Cursor::parse(Some(&cursor.text())).unwrap(), cursor);
    }

    #[test]
    fn an_attachment_that_does_not_get_on_is_trouble() {
        let trouble = |found: &Found, health, seconds| trouble(found, health, |_| Some(Duration::from_secs(seconds)));
        assert!(trouble(&attached("attaching"), None, 0).unwrap().contains("i-1"));
        assert!(trouble(&attached("busy"), None, 7).unwrap().contains("7 s; unmount"));
        assert_eq!(trouble(&attached("detaching"), None, STUCK), None);
        assert!(trouble(&attached("detaching"), None, STUCK + 1).unwrap().contains("detaching from i-1 for 91 s"));
        assert_eq!(trouble(&attached("attached"), None, 0), None);
        let health = Health { status: "impaired".to_owned(), events: Vec::new() };
        assert!(trouble(&attached("attached"), Some(&health), 0).unwrap().contains("impaired"));
    }

    /// A volume whose attachment began long ago.
    fn attached(state: &str) -> Found {
        let (volume, instance, device) = ("vol-1".to_owned(), "i-1".to_owned(), "/dev/xvdaa".to_owned());
        let attachment =
            Attachment { volume, instance, device, state: state.to_owned().into(), since: Some(SystemTime::UNIX_EPOCH) };
        Found {
            id: "vol-1".to_owned(),
            size: 1,
            state: VolumeState::InUse,
            volume_type: "gp3".to_owned(),
            zone: "a".to_owned(),
            outpost: None,
            iops: None,
            throughput: None,
            encrypted: false,
            key: None,
            multi_attach_enabled: false,
            snapshot: None,
            created: None,
            attachments: vec![attachment],
            tags: BTreeMap::new(),
        }
    }
}
