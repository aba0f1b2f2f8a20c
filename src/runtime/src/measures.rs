//! What every queue and every pass is measured by, under the names that controller-runtime gives them.
//!
//! They are registered with `prometheus`' default registry, which the process shows at `/metrics`.

use std::sync::LazyLock;
use std::time::Instant;

use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts};

static DEPTH: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let opts = Opts::new("workqueue_depth", "Keys that wait for a pass, without those that are due later.");
    registered(IntGaugeVec::new(opts, &["name"]))
});
static PASSES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let opts = Opts::new("controller_runtime_reconcile_total", "Passes, by how they ended.");
    registered(IntCounterVec::new(opts, &["controller", "result"]))
});
static SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    let opts = HistogramOpts::new("controller_runtime_reconcile_time_seconds", "How long passes take.")
        .buckets(vec![0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0]);
    registered(HistogramVec::new(opts, &["controller"]))
});
static ACTIVE: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let opts = Opts::new("controller_runtime_active_workers", "Passes under way.");
    registered(IntGaugeVec::new(opts, &["controller"]))
});

fn registered<M: Collector + Clone + 'static>(metric: prometheus::Result<M>) -> M {
    let metric = metric.expect("names and labels are fixed and valid");
    prometheus::register(Box::new(metric.clone())).expect("each name is registered once");
    metric
}

/// The gauge of a queue's depth.
pub(crate) fn depth(name: &str) -> IntGauge {
    DEPTH.with_label_values(&[name])
}

/// How a pass ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Success,
    /// It asked for another pass later.
    RequeueAfter,
    /// It met a conflict.
    Requeue,
    Error,
}

/// A pass under way; counted as active until it is dropped.
pub(crate) struct Pass {
    controller: &'static str,
    begun: Instant,
    active: IntGauge,
}

impl Pass {
    pub fn begin(controller: &'static str) -> Self {
        let active = ACTIVE.with_label_values(&[controller]);
        active.inc();
        Self { controller, begun: Instant::now(), active }
    }

    pub fn end(self, ended: Ended) {
        let result = match ended {
            Ended::Success => "success",
            Ended::RequeueAfter => "requeue_after",
            Ended::Requeue => "requeue",
            Ended::Error => "error",
        };
        PASSES.with_label_values(&[self.controller, result]).inc();
        SECONDS.with_label_values(&[self.controller]).observe(self.begun.elapsed().as_secs_f64());
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.active.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_active_until_it_ends_and_then_counted() {
        let active = ACTIVE.with_label_values(&["measured"]);
        let pass = Pass::begin("measured");
        assert_eq!(active.get(), 1);
        pass.end(Ended::Requeue);
        drop(Pass::begin("measured"));
        assert_eq!(active.get(), 0);
        assert_eq!(PASSES.with_label_values(&["measured", "requeue"]).get(), 1);
        assert_eq!(SECONDS.with_label_values(&["measured"]).get_sample_count(), 1, "one was dropped half way");
    }
}
