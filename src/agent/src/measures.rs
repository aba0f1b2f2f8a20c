//! What an agent measures beside its queues and passes; its endpoint shows it at `/metrics`.

use std::sync::LazyLock;
use std::time::Instant;

use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntGaugeVec, Opts};

static LOOKS: LazyLock<HistogramVec> = LazyLock::new(|| {
    let opts = HistogramOpts::new("nubium_agent_look_seconds", "How long looks at the machine take, by what for.")
        .buckets(vec![0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0]);
    registered(HistogramVec::new(opts, &["controller"]))
});
static ENDS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let name = "nubium_agent_certificate_expiration_timestamp_seconds";
    registered(IntGaugeVec::new(Opts::new(name, "When the agent's certificate and its CA end."), &["certificate"]))
});

fn registered<M: Collector + Clone + 'static>(metric: prometheus::Result<M>) -> M {
    let metric = metric.expect("names and labels are fixed and valid");
    prometheus::register(Box::new(metric.clone())).expect("each name is registered once");
    metric
}

/// A look, measured under the name of the loop that it is for.
pub(crate) async fn look<T>(controller: &str, look: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let seen = look.await;
    LOOKS.with_label_values(&[controller]).observe(begun.elapsed().as_secs_f64());
    seen
}

/// Shows when a certificate ends; one that cannot be read is reported where it is used.
pub(crate) fn certificate(name: &str, der: &[u8]) {
    if let Ok((_, certificate)) = x509_parser::parse_x509_certificate(der) {
        ENDS.with_label_values(&[name]).set(certificate.validity().not_after.timestamp());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_look_is_counted_when_it_ends() {
        assert_eq!(look("measured", async { 7 }).await, 7);
        assert_eq!(LOOKS.with_label_values(&["measured"]).get_sample_count(), 1);
    }
}
