package keyring

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/zalando/go-keyring"

	"github.com/cofferhq/coffer"
)

// cheap is the least that Argon2id can cost, for tests that are not about the cost.
var cheap = cost{Memory: 8, Time: 1, Parallelism: 1}

func words(s string) Protection {
	p := Passphrase([]byte(s))
	p.cost = cheap
	return p
}

func say(s string) Unlock {
	return Unlock{Passphrase: func() ([]byte, error) { return []byte(s), nil }}
}

// same reports whether two Rings are of one identity, by what they do.
func same(t *testing.T, a, b *Ring) {
	t.Helper()
	ctx := context.Background()
	sa, _ := a.Sign(ctx, coffer.Delegation, []byte("m"))
	sb, _ := b.Sign(ctx, coffer.Delegation, []byte("m"))
	ma, _ := a.MAC(ctx, []byte("m"))
	mb, _ := b.MAC(ctx, []byte("m"))
	peer := Generate().Key(coffer.AgreementKey).Public
	ga, _ := a.Agree(ctx, peer)
	gb, _ := b.Agree(ctx, peer)
	if a.DID() != b.DID() || a.hmacIDs[0] != b.hmacIDs[0] || len(sa) == 0 || !bytes.Equal(sa, sb) ||
		!bytes.Equal(ma, mb) || !bytes.Equal(ga, gb) {
		t.Error("not the same identity")
	}
}

func write(t *testing.T, b []byte) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "k")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSaveLoad(t *testing.T) {
	keyring.MockInit()
	dir := t.TempDir()
	keyFile := filepath.Join(dir, "key")
	for name, how := range map[string]struct {
		p Protection
		u Unlock
	}{
		"passphrase": {words("open sesame"), say("open sesame")},
		"default":    {Passphrase([]byte("open sesame")), say("open sesame")},
		"keychain":   {Keychain(), Unlock{}},
		"key file":   {KeyFile(keyFile), Unlock{KeyFile: keyFile}},
	} {
		for kind, r := range map[string]*Ring{"generated": Generate(), "imported": imported(t, 0x11)} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				path := filepath.Join(dir, strings.ReplaceAll(t.Name(), "/", "-"))
				if err := Save(path, r, how.p); err != nil {
					t.Fatal(err)
				}
				again, err := Load(path, how.u)
				if err != nil {
					t.Fatal(err)
				}
				same(t, r, again)
				info, err := os.Stat(path)
				if err != nil || runtime.GOOS != "windows" && info.Mode() != 0o600 {
					t.Errorf("mode %v, %v", info.Mode(), err)
				}
				if err := Save(path, Generate(), how.p); !errors.Is(err, coffer.Conflict) {
					t.Errorf("overwritten: %v", err)
				}
				other := Generate()
				if err := Replace(path, other, how.p); err != nil {
					t.Fatal(err)
				}
				again, err = Load(path, how.u)
				if err != nil {
					t.Fatal(err)
				}
				same(t, other, again)
			})
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".coffer-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestWrongOrMissing(t *testing.T) {
	keyring.MockInit()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for name, p := range map[string]Protection{
		"words": words("open sesame"), "chain": Keychain(), "file": KeyFile(in("key")),
	} {
		if err := Save(in(name), Generate(), p); err != nil {
			t.Fatal(err)
		}
	}
	if err := Save(in("other"), Generate(), KeyFile(in("other key"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in("open key"), []byte(keyFileFormat+encode(make([]byte, 32))+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(in("bad key"), []byte(keyFileFormat+encode(make([]byte, 31))+"\n"), 0o600)
	asking := errors.New("nobody there")
	for _, c := range []struct {
		name, path string
		u          Unlock
		kind       coffer.Kind
		text       string
	}{
		{"wrong", "words", say("open sesamE"), coffer.Locked, "wrong passphrase or damaged file"},
		{"empty", "words", say(""), coffer.Locked, "wrong passphrase or damaged file"},
		{"long", "words", say(strings.Repeat("x", maxPassphrase+1)), coffer.Locked, "wrong passphrase or damaged file"},
		{"nobody asks", "words", Unlock{}, coffer.Locked, "needs its passphrase"},
		{"no key file", "file", Unlock{}, coffer.Locked, "needs its key file"},
		{"missing key file", "file", Unlock{KeyFile: in("nowhere")}, coffer.NotExist, ""},
		{"other key file", "file", Unlock{KeyFile: in("other key")}, coffer.Locked, "wrong key or damaged file"},
		{"malformed key file", "file", Unlock{KeyFile: in("bad key")}, coffer.Corrupt, ""},
		{"key file for all to read", "file", Unlock{KeyFile: in("open key")}, coffer.Denied, "0600"},
		{"no file", "none", say("x"), coffer.NotExist, ""},
		{"a folder", ".", say("x"), coffer.Unavailable, ""},
	} {
		if c.kind == coffer.Denied && runtime.GOOS == "windows" {
			continue
		}
		_, err := Load(in(c.path), c.u)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil && strings.Contains(err.Error(), dir) {
			t.Errorf("%s: the error names the path", c.name)
		}
	}
	failing := Unlock{Passphrase: func() ([]byte, error) { return nil, asking }}
	if _, err := Load(in("words"), failing); !errors.Is(err, asking) {
		t.Errorf("the caller's own error: %v", err)
	}
	asked := []byte("open sesame")
	asks := Unlock{Passphrase: func() ([]byte, error) { return asked, nil }}
	if _, err := Load(in("words"), asks); err != nil || asked[0] != 0 {
		t.Errorf("passphrase %q was not cleared, %v", asked, err)
	}
	for name, p := range map[string]Protection{
		"none": {}, "empty": Passphrase(nil), "long": Passphrase(make([]byte, maxPassphrase+1)),
	} {
		if err := Save(in("new"), Generate(), p); !errors.Is(err, coffer.Invalid) {
			t.Errorf("protection %s: %v", name, err)
		}
	}
	if err := Save(in("no/folder"), Generate(), words("x")); !errors.Is(err, coffer.NotExist) {
		t.Errorf("no folder: %v", err)
	}
	if err := Save(in("no/folder"), Generate(), KeyFile(in("bad key"))); !errors.Is(err, coffer.Corrupt) {
		t.Errorf("malformed key file: %v", err)
	}

	keyring.MockInit() // another machine
	if _, err := Load(in("chain"), Unlock{}); !errors.Is(err, coffer.Locked) {
		t.Errorf("keychain without the key: %v", err)
	}
	keyring.MockInitWithError(errors.New("secret detail"))
	_, err1 := Load(in("chain"), Unlock{})
	err2 := Save(in("new"), Generate(), Keychain())
	for _, err := range []error{err1, err2} {
		if !errors.Is(err, coffer.Unavailable) || strings.Contains(err.Error(), "secret") {
			t.Errorf("no keychain: %v", err)
		}
	}
	if _, err := os.Lstat(in("new")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a failed Save left a file")
	}
}

// TestKeychainIsTidy follows the entries in the keychain: one for each file that needs it, and none else.
func TestKeychainIsTidy(t *testing.T) {
	keyring.MockInit()
	path := filepath.Join(t.TempDir(), "k")
	entry := func() string {
		b, _ := os.ReadFile(path)
		f, err := parse(b)
		if err != nil {
			t.Fatal(err)
		}
		return f.Entry
	}
	has := func(entry string) bool {
		_, err := keyring.Get(keychainService, entry)
		return err == nil
	}
	if err := Save(path, Generate(), Keychain()); err != nil {
		t.Fatal(err)
	}
	first := entry()
	if err := ChangeProtection(path, Unlock{}, Keychain()); err != nil {
		t.Fatal(err)
	}
	second := entry()
	if first == second || has(first) || !has(second) {
		t.Error("the old key stayed, or the new one is not there")
	}
	if err := ChangeProtection(path, Unlock{}, words("x")); err != nil || has(second) {
		t.Errorf("the last key stayed, %v", err)
	}
	if err := ChangeProtection(path, say("y"), Keychain()); !errors.Is(err, coffer.Locked) {
		t.Errorf("changed with the wrong passphrase: %v", err)
	}
	if _, err := Load(path, say("x")); err != nil {
		t.Error(err)
	}
}

func TestChangePassphrase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k")
	r := Generate()
	if err := Save(path, r, words("old")); err != nil {
		t.Fatal(err)
	}
	if err := ChangePassphrase(path, []byte("wrong"), []byte("new")); !errors.Is(err, coffer.Locked) {
		t.Errorf("wrong passphrase: %v", err)
	}
	if err := ChangePassphrase(path, []byte("old"), []byte("new")); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, say("old")); !errors.Is(err, coffer.Locked) {
		t.Errorf("old passphrase: %v", err)
	}
	again, err := Load(path, say("new"))
	if err != nil {
		t.Fatal(err)
	}
	same(t, r, again)
}

// sealed returns a file of an imported identity under "x".
func sealed(t testing.TB) []byte {
	t.Helper()
	secrets, version, err := imported(t, 0x11).marshal()
	if err != nil {
		t.Fatal(err)
	}
	key, h, err := words("x").newKey(bytes.NewReader(make([]byte, saltSize)))
	if err != nil {
		t.Fatal(err)
	}
	b, err := seal(secrets, version, key, h, bytes.NewReader(make([]byte, 24)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestEveryByteCounts changes, removes and doubles each byte of a file, and cuts it at each place.
func TestEveryByteCounts(t *testing.T) {
	whole := sealed(t)
	fails := func(what string, i int, b []byte) {
		f, err := parse(b)
		if err == nil {
			if f.KDF == nil || f.KDF.Memory > 1<<16 {
				return // bounded, but not worth the time
			}
			_, err = f.open(f.KDF.key([]byte("x"), f.salt), "")
		}
		if err == nil {
			t.Errorf("opens with byte %d %s", i, what)
		}
	}
	f, err := parse(whole)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.open(f.KDF.key([]byte("x"), f.salt), ""); err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		for bit := range 8 {
			b := bytes.Clone(whole)
			b[i] ^= 1 << bit
			fails("changed", i, b)
		}
		fails("removed", i, append(bytes.Clone(whole[:i]), whole[i+1:]...))
		fails("doubled", i, append(bytes.Clone(whole[:i+1]), whole[i:]...))
		fails("as the end", i, whole[:i])
	}
	fails("added", len(whole), append(bytes.Clone(whole), '\n'))
	fails("added", len(whole), append(bytes.Clone(whole), 'x'))
}

func TestHeader(t *testing.T) {
	good := string(sealed(t))
	for name, c := range map[string]struct {
		old, new string
		kind     coffer.Kind
		text     string
	}{
		"newer":            {`coffer-keyring/1"`, `coffer-keyring/3","what":"ever"`, coffer.Invalid, "newer version"},
		"much newer":       {`coffer-keyring/1`, `coffer-keyring/4000000000`, coffer.Invalid, "newer version"},
		"older":            {`coffer-keyring/1`, `coffer-keyring/0`, coffer.Corrupt, ""},
		"no version":       {`coffer-keyring/1`, `coffer-keyring/`, coffer.Corrupt, ""},
		"another 1":        {`coffer-keyring/1`, `coffer-keyring/01`, coffer.Corrupt, ""},
		"another format":   {`coffer-keyring/1`, `age-encryption.org/v1`, coffer.Corrupt, "not a keyring"},
		"other protection": {`"passphrase"`, `"hope"`, coffer.Corrupt, ""},
		"no protection":    {`"passphrase"`, `""`, coffer.Corrupt, ""},
		"KDF for nothing":  {`"passphrase"`, `"keyfile"`, coffer.Corrupt, ""},
		"entry":            {`"nonce"`, `"entry":"AAAAAAAAAAAAAAAAAAAAAA","nonce"`, coffer.Corrupt, ""},
		"other KDF":        {`argon2id`, `argon2i`, coffer.Corrupt, ""},
		"memory":           {`"memory":8`, `"memory":1048577`, coffer.Exhausted, "more work"},
		"all memory":       {`"memory":8`, `"memory":4294967295`, coffer.Exhausted, ""},
		"beyond memory":    {`"memory":8`, `"memory":4294967296`, coffer.Corrupt, ""},
		"memory less":      {`"memory":8`, `"memory":-1`, coffer.Corrupt, ""},
		"memory small":     {`"memory":8`, `"memory":7`, coffer.Exhausted, ""},
		"time":             {`"time":1`, `"time":65`, coffer.Exhausted, ""},
		"no time":          {`"time":1`, `"time":0`, coffer.Exhausted, ""},
		"lanes": {`"memory":8,"time":1,"parallelism":1`, `"memory":1000,"time":1,"parallelism":17`,
			coffer.Exhausted, ""},
		"lanes beyond":   {`"parallelism":1`, `"parallelism":257`, coffer.Exhausted, ""},
		"no lanes":       {`"parallelism":1`, `"parallelism":0`, coffer.Exhausted, ""},
		"short salt":     {`"salt":"AA`, `"salt":"`, coffer.Corrupt, ""},
		"short nonce":    {`"nonce":"AAAA`, `"nonce":"`, coffer.Corrupt, ""},
		"unknown member": {`"nonce"`, `"hint":"my cat","nonce"`, coffer.Corrupt, ""},
		"twice":          {`"nonce"`, `"protection":"passphrase","nonce"`, coffer.Corrupt, ""},
		"too long":       {`"nonce"`, strings.Repeat(" ", maxFile1) + `"nonce"`, coffer.Corrupt, ""},
	} {
		bad := strings.Replace(good, c.old, c.new, 1)
		if bad == good {
			t.Fatalf("%s: nothing changed", name)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Load(write(t, []byte(bad)), say("x"))
		runtime.ReadMemStats(&after)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s: refused only after %d bytes of memory", name, n)
		}
	}
	// What only a holder of the key can write must be checked all the same.
	two, _, err := must(imported(t, 0x11).WithDevice()).marshal()
	if err != nil {
		t.Fatal(err)
	}
	one := append([]byte{1}, make([]byte, 32)...)
	for name, c := range map[string]struct {
		version int
		secrets []byte
	}{
		"of version 2": {1, two}, "of version 1": {2, one}, "cut": {2, two[:len(two)-1]}, "longer": {2, append(two, 0)},
		"without an identity": {2, two[:49]}, "just a device id": {2, two[:17]}, "not there": {2, nil},
	} {
		key, h, _ := words("x").newKey(bytes.NewReader(make([]byte, saltSize)))
		b := must(seal(c.secrets, c.version, key, h, bytes.NewReader(make([]byte, 24))))
		if _, err := Load(write(t, b), say("x")); !errors.Is(err, coffer.Corrupt) {
			t.Errorf("secrets that are %s in a file of version %d: %v", name, c.version, err)
		}
	}
	for name, secrets := range map[string][]byte{
		"empty": {}, "short root": make([]byte, 32), "unknown": append([]byte{3}, make([]byte, 32)...),
		"long root": append([]byte{1}, make([]byte, 33)...), "no id": append([]byte{2}, make([]byte, 64)...),
		"bad id": append([]byte{2}, make([]byte, 65)...),
	} {
		key, h, _ := words("x").newKey(bytes.NewReader(make([]byte, saltSize)))
		b, err := seal(secrets, 1, key, h, bytes.NewReader(make([]byte, 24)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Load(write(t, b), say("x")); err == nil {
			t.Errorf("secrets that are %s: accepted", name)
		}
	}
}

// TestWholeOrNotAtAll lets writing fail and looks at what is there.
func TestWholeOrNotAtAll(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs folders that can be closed")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "k")
	r := Generate()
	if err := Save(path, r, words("x")); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(path)
	// A link to nowhere is something: Save must not go through it.
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "nowhere"), link); err != nil {
		t.Fatal(err)
	}
	if err := Save(link, r, words("x")); !errors.Is(err, coffer.Conflict) {
		t.Errorf("through a link: %v", err)
	}
	// The last step fails: a folder is where the file is to go.
	folder := filepath.Join(dir, "folder")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Replace(folder, r, words("x")); !errors.Is(err, coffer.Unavailable) && !errors.Is(err, coffer.Conflict) {
		t.Errorf("over a folder: %v", err)
	}
	if err := writeFile(path, []byte("new"), false); !errors.Is(err, coffer.Conflict) {
		t.Errorf("somebody was faster: %v", err)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Error("the file changed")
	}
	names, _ := os.ReadDir(dir)
	if len(names) != 3 {
		t.Errorf("left behind: %v", names)
	}
}

// TestMemory opens a file of the default cost in a process of its own, which must need less than 64 MiB at its worst.
func TestMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	if path := os.Getenv("KEYRING_TEST_OPEN"); path != "" {
		if _, err := Load(path, say("x")); err != nil {
			t.Fatal(err)
		}
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		os.Stdout.Write(status)
		return
	}
	if raceEnabled {
		t.Skip("the race detector needs memory of its own")
	}
	path := filepath.Join(t.TempDir(), "k")
	if err := Save(path, Generate(), Passphrase([]byte("x"))); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestMemory$")
	cmd.Env = append(os.Environ(), "KEYRING_TEST_OPEN="+path)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	kib := func(name string) int {
		m := regexp.MustCompile(name + `:\s+(\d+) kB`).FindSubmatch(out)
		if m == nil {
			t.Fatalf("no %s in %s", name, out)
		}
		n, _ := strconv.Atoi(string(m[1]))
		return n
	}
	t.Logf("peak %d KiB, afterwards %d KiB", kib("VmHWM"), kib("VmRSS"))
	if kib("VmHWM") > 60<<10 || kib("VmRSS") > 28<<10 {
		t.Errorf("peak %d KiB, afterwards %d KiB", kib("VmHWM"), kib("VmRSS"))
	}
}

func FuzzLoad(f *testing.F) {
	keyring.MockInit()
	f.Add(sealed(f))
	f.Add(sealed(f)[:100])
	f.Add([]byte(strings.Replace(string(sealed(f)), "keyring/1", "keyring/3", 1)))
	f.Add([]byte(`{"format":"coffer-keyring/1","protection":"keyfile","nonce":"` + encode(make([]byte, 24)) + `"}` +
		"\nAAAA\n"))
	f.Add([]byte("{}\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := parse(b)
		if err != nil {
			if coffer.KindOf(err) == coffer.Other {
				t.Errorf("error without a kind: %v", err)
			}
			return
		}
		if file.KDF != nil && (file.KDF.Memory > 1<<20 || file.KDF.Time > 64 || file.KDF.Parallelism > 16) {
			t.Error("beyond the bounds")
		}
		if _, err := file.open(make([]byte, keySize), ""); !errors.Is(err, coffer.Locked) {
			t.Errorf("opened with a key of zeros: %v", err)
		}
	})
}

func BenchmarkUnlock(b *testing.B) {
	for b.Loop() {
		defaultCost.key([]byte("open sesame"), make([]byte, saltSize))
	}
}
