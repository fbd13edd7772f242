//! Two towlines agree to notice it within seconds when one of them is gone (docs/wire C21, K5).

use std::time::Duration;

use towline_codec::Text;

use super::{Hdr, Message, link::Link};

/// The parameter that the original knows nothing of: items with spaces between them.
pub(super) const KEY: &[u8] = b"towline";
/// What may be agreed: less would cost more than it tells, more tells nothing.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3600);
/// Signs of life within the time after which a peer is given up.
const SIGNS: u32 = 3;

impl Link {
    /// Client: adds what is offered to a request, `more` included, and begins to send signs of life,
    /// which disturb nobody.
    pub(super) fn offer(&mut self, hdr: &mut Hdr, more: Option<String>) {
        let alive = self.offered.map(|limit| {
            self.send_signs_of_life(limit);
            format!("alive?{}", limit.as_millis())
        });
        let text = match (alive, more) {
            (None, None) => return,
            (Some(one), None) | (None, Some(one)) => one,
            (Some(one), Some(other)) => format!("{one} {other}"),
        };
        self.has_offered = true;
        hdr.args.insert(Text::from(KEY), Text::from(text));
    }

    /// Client: the first answer says whether the offer was understood. A function of the original that
    /// sends the parameters of its request back has not understood it.
    pub(super) fn take_acceptance(&mut self, hdr: &mut Hdr) {
        if !self.has_offered {
            return;
        }
        let text = hdr.args.remove(KEY);
        if self.offered.take().is_some()
            && let Some(text) = text
            && let Some(limit) = read(&text, "alive=")
        {
            self.expect_signs_of_life(limit);
        }
    }

    /// Server: takes what is offered out of a request, and has the next answer accept it. Returns what is
    /// to be answered at once. Offers that come before the answer is there say the same again.
    pub(super) fn take_offer(&mut self, hdr: &mut Hdr) -> Option<Message> {
        let text = hdr.args.remove(KEY)?;
        if !self.agreed
            && let Some(limit) = read(&text, "alive?")
        {
            self.agreed = true;
            self.acceptance = Some(Text::from(format!("alive={}", limit.as_millis())));
            self.send_signs_of_life(limit);
            self.expect_signs_of_life(limit);
        }
        self.take_offer_of_credit(text.to_str().ok()?)
    }

    /// Server: adds the acceptance to the first answer behind the offer.
    pub(super) fn accept(&mut self, hdr: &mut Hdr) {
        if let Some(text) = self.acceptance.take() {
            hdr.args.insert(Text::from(KEY), text);
        }
    }

    /// Server: an answer that was not sent has accepted nothing.
    pub(super) fn take_back_acceptance(&mut self, hdr: &mut Hdr) {
        if self.agreed
            && let Some(text) = hdr.args.remove(KEY)
        {
            self.acceptance = Some(text);
        }
    }

    fn send_signs_of_life(&mut self, limit: Duration) {
        let interval = limit / SIGNS;
        let shorter = |set: Duration| set.min(interval);
        self.limits.keep_alive = Some(self.limits.keep_alive.map_or(interval, shorter));
    }

    fn expect_signs_of_life(&mut self, limit: Duration) {
        let shorter = |set: Duration| set.min(limit);
        self.limits.idle_timeout = Some(self.limits.idle_timeout.map_or(limit, shorter));
    }
}

/// What may be offered for this setting.
pub(super) fn within_bounds(limit: Duration) -> Duration {
    limit.clamp(SHORTEST, LONGEST)
}

/// The items of what stands under the key.
pub(super) fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ')
}

fn read(text: &Text, begins: &str) -> Option<Duration> {
    let millis = items(text.to_str().ok()?).find_map(|item| item.strip_prefix(begins))?;
    Some(within_bounds(Duration::from_millis(millis.parse().ok()?)))
}
