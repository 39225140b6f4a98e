package house

// A Room says what the packages at and below one path may import besides the standard library. The most specific room
// counts. What the room holds itself may always be imported by it.
type Room struct {
	Path    string
	Rooms   []string // packages of this module; "x/..." is x and all below, "." the root package
	Modules []string // third-party import paths, each with what is below it
	Any     bool     // anything at all: for rooms that put others together
	Never   []string // rooms, each with what is below it, that it must not reach, directly or through others
	NoStd   []string // parts of the standard library that it must not import itself
	NoClock bool     // time is an argument
}

// Parts of the standard library that a pure room, or one that is handed all it works with, leaves alone.
var (
	disk = []string{"os", "syscall", "io/ioutil", "database/sql", "plugin"}
	dial = []string{"net", "net/http", "net/rpc", "crypto/tls"}
	talk = []string{"log", "log/slog"}
)

// Rooms is the house. A new line, and a new module on a line, is a decision.
var Rooms = []Room{
	// The hall: vocabulary, law, wire, disk.
	{Path: ".", NoStd: join(disk, dial, talk), NoClock: true},
	{Path: "grant", Rooms: []string{".", "internal/jose"}, NoStd: join(disk, talk), NoClock: true},
	{Path: "merge", Rooms: []string{".", "internal/jose"}, NoStd: join(disk, dial, talk), NoClock: true},
	{Path: "ledger", Rooms: []string{".", "internal/jose"}, Modules: []string{"golang.org/x/mod/sumdb"}, NoStd: join(disk, dial, talk), NoClock: true},
	{Path: "replica", Rooms: []string{"."}, NoStd: join(disk, dial)},
	{
		Path:  "ident",
		Rooms: []string{".", "internal/jose"},
		Modules: []string{
			"github.com/decred/dcrd/dcrec/secp256k1/v4",
			"github.com/go-json-experiment/json",
			"github.com/hashicorp/golang-lru/v2",
			"github.com/oasisprotocol/curve25519-voi",
		},
		NoStd: disk,
	},
	{
		Path:  "keyring",
		Rooms: []string{".", "internal/jose"},
		Modules: []string{
			"github.com/decred/dcrd/dcrec/secp256k1/v4",
			"github.com/oasisprotocol/curve25519-voi",
			"github.com/tyler-smith/go-bip39",
			"github.com/zalando/go-keyring",
			"golang.org/x/crypto",
			"golang.org/x/text",
		},
		NoStd: dial,
	},
	{
		Path:  "api",
		Rooms: []string{".", "grant", "internal/jose"},
		Modules: []string{
			"github.com/go-json-experiment/json",
			"github.com/hashicorp/golang-lru/v2",
		},
		Never: []string{"node", "agent", "store"},
		NoStd: disk,
	},
	{Path: "store", Rooms: []string{"."}, NoStd: dial},
	{Path: "store/storetest", Rooms: []string{".", "store", "store/faulty"}, Modules: []string{"github.com/anishathalye/porcupine"}},
	{Path: "store/faulty", Rooms: []string{".", "store", "store/blob"}, Modules: []string{"github.com/cockroachdb/pebble/v2/vfs"}},
	{
		Path:    "store/postgres",
		Rooms:   []string{".", "store"},
		Modules: []string{"github.com/jackc/pgx/v5"},
	},
	{Path: "store/blob", Rooms: []string{"."}, NoStd: dial},
	{Path: "store/blob/blobtest", Rooms: []string{".", "store/blob", "store/faulty"}},
	{Path: "store/blob/files", Rooms: []string{".", "store/blob"}, NoStd: dial},
	{
		Path:    "store/blob/s3",
		Rooms:   []string{".", "store/blob"},
		Modules: []string{"github.com/minio/minio-go/v7"},
	},
	{
		Path:    "store/pebble",
		Rooms:   []string{".", "store"},
		Modules: []string{"github.com/cockroachdb/pebble/v2"},
		NoStd:   dial,
	},
	{
		Path:    "internal/jose",
		Modules: []string{"github.com/go-json-experiment/json", "golang.org/x/crypto"},
		NoStd:   join(disk, dial, talk),
		NoClock: true,
	},
	{
		Path:    "internal/lucene",
		Rooms:   []string{"."},
		Modules: []string{"github.com/go-json-experiment/json", "golang.org/x/text"},
		NoStd:   join(disk, dial, talk),
		NoClock: true,
	},
	{Path: "internal/house"},
	{Path: "internal/servers"},
	{Path: "internal/providerview", Any: true},

	// The owner's wing: it is handed vaults and a keyring.
	{
		Path: "agent",
		Rooms: []string{
			".", "grant", "merge", "ledger", "ident", "replica", "keyring", "api/...", "internal/jose", "internal/lucene",
		},
		Modules: []string{"github.com/go-json-experiment/json", "github.com/oasisprotocol/curve25519-voi"},
		Never:   []string{"node", "store"},
		NoStd:   join(disk, dial),
	},

	// The provider's wing.
	{
		Path:  "node",
		Any:   true,
		Never: []string{"agent"},
		Modules: []string{
			"github.com/prometheus/client_golang",
			"go.opentelemetry.io/otel",
			"golang.org/x/crypto",
			"golang.org/x/net",
			"golang.org/x/time",
		},
	},
	{
		Path:    "node/vault",
		Rooms:   []string{".", "grant", "store", "store/blob", "ledger"},
		Modules: []string{"github.com/hashicorp/golang-lru/v2", "golang.org/x/time"},
		Never:   []string{"agent"},
		NoStd:   dial,
	},
	{
		Path:  "node/hub",
		Rooms: []string{".", "grant", "merge"},
		Never: []string{"agent", "node/vault", "store"},
	},

	// Programs, and what puts rooms together for tests and measurements.
	{
		Path: "cmd",
		Any:  true,
		Modules: []string{
			"github.com/alecthomas/kong",
			"github.com/prometheus/client_golang",
			"github.com/schollz/progressbar/v3",
			"github.com/skip2/go-qrcode",
			"golang.org/x/crypto",
			"golang.org/x/term",
		},
	},
	{
		Path: "cmd/cofferd",
		Any:  true,
		Modules: []string{
			"github.com/alecthomas/kong",
			"github.com/prometheus/client_golang",
			"golang.org/x/crypto",
			"golang.org/x/term",
		},
		Never: []string{"agent"},
	},
	{Path: "vaulttest", Rooms: []string{".", "api/edv", "ledger"}},
	{Path: "hubtest", Rooms: []string{"."}},
	{Path: "coffertest", Any: true},
	{Path: "bench", Any: true, Modules: []string{"*"}},
	{Path: "interop", Any: true},
	{Path: "deploy", Any: true},
}

func join(lists ...[]string) (all []string) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}
