//! Metrics of the settings.

subject! {
    /// 1 when the settings could be used as they were last read, 0 when those from before hold
    Gauge GOOD = "confcast_settings_good";
    /// When settings were last read, in seconds since 1970
    Gauge LAST_READ = "confcast_settings_last_read_timestamp_seconds";
    /// Settings that have changed in the file and wait for a restart
    Gauge NEED_RESTART = "confcast_settings_need_restart";
}
