//! How long ago, as `kubectl get` shows it: two units at most, coarser the longer it is.

use jiff::Timestamp;

/// From `then` to `now`.
pub fn human_since(then: Timestamp, now: Timestamp) -> String {
    human_duration(now.duration_since(then).as_secs_f64())
}

/// `5m10s`, `3h`, `2d4h`, `1y20d`. More than a second in the future is `<invalid>`.
pub fn human_duration(seconds: f64) -> String {
    let seconds = seconds.trunc() as i64;
    let two = |big: i64, unit: char, small: i64, part: char| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{small}{part}") }
    };
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match () {
        () if seconds < -1 => "<invalid>".to_owned(),
        () if seconds < 0 => "0s".to_owned(),
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, 'm', seconds % 60, 's'),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, 'h', minutes % 60, 'm'),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 192 => two(days, 'd', hours % 24, 'h'),
        () if days < 730 => format!("{days}d"),
        () if days < 2920 => two(days / 365, 'y', days % 365, 'd'),
        () => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_has_its_units() {
        let cases = [
            (-5.0, "<invalid>"),
            (-1.5, "0s"),
            (0.9, "0s"),
            (119.0, "119s"),
            (120.0, "2m"),
            (190.0, "3m10s"),
            (600.0, "10m"),
            (10_799.0, "179m"),
            (10_800.0, "3h"),
            (11_400.0, "3h10m"),
            (28_800.0, "8h"),
            (172_799.0, "47h"),
            (172_800.0, "2d"),
            (176_400.0, "2d1h"),
            (691_200.0, "8d"),
            (63_071_999.0, "729d"),
            (63_072_000.0, "2y"),
            (63_158_400.0, "2y1d"),
            (252_288_000.0, "8y"),
        ];
        for (seconds, text) in cases {
            assert_eq!(human_duration(seconds), text, "{seconds}");
        }
    }
}
