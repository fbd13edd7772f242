//! The place where a caller waits for its answer.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// One answer on its way from the driver to a caller.
///
/// A channel that wakes the caller as it is filled would do, but for one thing: the driver answers
/// many callers at once, and has to choose when they are woken ([`Filler::fill`]).
pub(super) fn answer<T>() -> (Filler<T>, Answer<T>) {
    let place = Arc::new(Mutex::new(Place::Empty(None)));
    (Filler(Arc::clone(&place)), Answer(place))
}

#[derive(Debug)]
enum Place<T> {
    /// Whom to wake.
    Empty(Option<Waker>),
    Filled(T),
    /// Nothing will come, or it has been taken.
    Over,
}

/// The driver's end. Dropped, it tells the caller that there will be no answer.
#[derive(Debug)]
pub(crate) struct Filler<T>(Arc<Mutex<Place<T>>>);

/// The caller's end: a future of the answer, `None` if there will be none.
#[derive(Debug)]
pub(super) struct Answer<T>(Arc<Mutex<Place<T>>>);

impl<T> Filler<T> {
    /// Leaves the answer. Returns whom to wake: the caller, if it waits already.
    #[must_use]
    pub(super) fn fill(self, value: T) -> Option<Waker> {
        match mem::replace(&mut *lock(&self.0), Place::Filled(value)) {
            Place::Empty(waker) => waker,
            Place::Filled(_) | Place::Over => None,
        }
    }
}

impl<T> Drop for Filler<T> {
    fn drop(&mut self) {
        let waker = {
            let mut place = lock(&self.0);
            let Place::Empty(waker) = &mut *place else {
                return;
            };
            let waker = waker.take();
            *place = Place::Over;
            waker
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Answer<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut place = lock(&self.0);
        match &mut *place {
            Place::Empty(Some(waker)) => waker.clone_from(cx.waker()),
            Place::Empty(waker) => *waker = Some(cx.waker().clone()),
            Place::Filled(_) | Place::Over => {
                return Poll::Ready(match mem::replace(&mut *place, Place::Over) {
                    Place::Filled(value) => Some(value),
                    Place::Empty(_) | Place::Over => None,
                });
            }
        }
        Poll::Pending
    }
}

/// No statement under this lock leaves the place half-changed.
fn lock<T>(place: &Mutex<Place<T>>) -> MutexGuard<'_, Place<T>> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll<T>(answer: Pin<&mut Answer<T>>, count: &Arc<Count>) -> Poll<Option<T>> {
        answer.poll(&mut Context::from_waker(&Waker::from(Arc::clone(count))))
    }

    #[test]
    fn an_answer_reaches_a_caller_that_waits_and_one_that_does_not_yet() {
        let count = Arc::new(Count::default());
        let (filler, answer) = answer();
        let mut answer = pin!(answer);
        assert!(poll(answer.as_mut(), &count).is_pending());
        filler.fill(7).expect("a caller waits").wake();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert_eq!(poll(answer.as_mut(), &count), Poll::Ready(Some(7)));
        assert_eq!(poll(answer.as_mut(), &count), Poll::Ready(None));

        let (filler, answer) = super::answer();
        assert!(filler.fill(8).is_none());
        assert_eq!(poll(pin!(answer), &count), Poll::Ready(Some(8)));
    }

    #[test]
    fn a_dropped_filler_wakes_the_caller() {
        let count = Arc::new(Count::default());
        let (filler, answer) = answer::<u8>();
        let mut answer = pin!(answer);
        assert!(poll(answer.as_mut(), &count).is_pending());
        drop(filler);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert_eq!(poll(answer.as_mut(), &count), Poll::Ready(None));
    }

    #[test]
    fn the_latest_waker_counts() {
        let (first, second) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let (filler, answer) = answer();
        let mut answer = pin!(answer);
        assert!(poll(answer.as_mut(), &first).is_pending());
        assert!(poll(answer.as_mut(), &second).is_pending());
        filler.fill(()).expect("a caller waits").wake();
        assert_eq!(first.0.load(Ordering::Relaxed), 0);
        assert_eq!(second.0.load(Ordering::Relaxed), 1);
    }
}
