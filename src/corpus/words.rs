//! Lists of words that templates draw from. Invented: none of them is anybody's.

/// The list that a blank of this name draws from.
pub(super) fn named(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "user" => &USERS,
        "host" => &HOSTS,
        "service" => &SERVICES,
        "url" => &URLS,
        "file" => &FILES,
        "table" => &TABLES,
        "symbol" => &SYMBOLS,
        "app" => &APPS,
        _ => return None,
    })
}

const USERS: [&str; 16] = [
    "root",
    "admin",
    "deploy",
    "backup",
    "alice",
    "bora",
    "chiara",
    "dmitri",
    "emeka",
    "farah",
    "git",
    "hadoop",
    "ines",
    "jun",
    "svc-billing",
    "www-data",
];

const HOSTS: [&str; 12] = [
    "node-01",
    "node-02",
    "node-17",
    "edge-3",
    "edge-4",
    "db-primary",
    "db-replica-2",
    "cache-1",
    "build-07",
    "worker-11.rack-2",
    "worker-12.rack-2",
    "gw-north",
];

const SERVICES: [&str; 12] = [
    "orders",
    "billing",
    "checkout",
    "catalog",
    "search",
    "identity",
    "shipping",
    "quotes",
    "ledger",
    "mailer",
    "inventory",
    "reports",
];

const URLS: [&str; 14] = [
    "/api/v1/orders",
    "/api/v1/orders?limit=50&sort=-created",
    "/api/v2/quotes/latest",
    "/api/v1/accounts/self",
    "/api/v1/positions",
    "/login",
    "/logout",
    "/static/app.js",
    "/static/img/logo.svg",
    "/index.html",
    "/api/v1/search?q=blue+shoes&page=2",
    "/api/v2/watchlists",
    "/favicon.ico",
    "/api/v1/cart/items",
];

const FILES: [&str; 12] = [
    "/var/lib/app/data/segment.idx",
    "/srv/share/reports/month.csv",
    "/opt/app/conf/app.properties",
    "/var/spool/jobs/queue.db",
    "/data/warehouse/events/part.parquet",
    "/home/deploy/releases/current",
    "/etc/app/routes.yaml",
    "/var/cache/thumbs/big.webp",
    "/mnt/backup/nightly.tar",
    "/tmp/upload.part",
    "/usr/lib/app/plugins/geo.so",
    "/data/hdfs/current/finalized",
];

const TABLES: [&str; 10] = [
    "orders",
    "order_items",
    "accounts",
    "sessions",
    "audit_log",
    "payments",
    "quotes",
    "users",
    "shipments",
    "outbox",
];

const SYMBOLS: [&str; 12] =
    ["ALFA", "BRVO", "CHRL", "DLTA", "ECHO", "FXTR", "GOLF", "HOTL", "INDI", "JULT", "KILO", "LIMA"];

const APPS: [&str; 10] = [
    "com.example.mail",
    "com.example.maps",
    "com.example.music/.PlayerService",
    "com.example.launcher/.HomeActivity",
    "org.sample.reader",
    "org.sample.camera/.CaptureActivity",
    "com.example.weather.widget",
    "org.sample.keyboard",
    "com.example.chat/.ThreadActivity",
    "com.example.settings",
];
