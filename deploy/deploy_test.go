// Package deploy_test checks what stands beside it: that it can be read by what it is for, that its parts fit together,
// and that they fit the node.
package deploy_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/cofferhq/coffer/internal/servers"
)

// built is cofferd, built once for all tests.
var built struct {
	once   sync.Once
	folder string
	err    error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.folder != "" {
		os.RemoveAll(built.folder)
	}
	os.Exit(code)
}

// cofferd returns the file of the program.
func cofferd(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		if built.folder, built.err = os.MkdirTemp("", "coffer-deploy-"); built.err != nil {
			return
		}
		args := []string{"build", "-o", built.folder}
		// What the race detector needs is compiled already if this test has it.
		if info, ok := debug.ReadBuildInfo(); ok &&
			slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
			args = append(args, "-race")
		}
		if out, err := exec.Command("go", append(args, "../cmd/cofferd")...).CombinedOutput(); err != nil {
			built.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	found, err := filepath.Glob(filepath.Join(built.folder, "cofferd*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%d programs were built: %v", len(found), err)
	}
	return found[0]
}

// flags returns the flags of one of cofferd's commands, without dashes.
func flags(t *testing.T, command string) (names []string) {
	t.Helper()
	out, err := exec.Command(cofferd(t), command, "--help").Output()
	if err != nil {
		t.Fatalf("cofferd %s --help: %v", command, err)
	}
	for _, m := range regexp.MustCompile(`(?m)^ +(?:-h, )?--([a-z-]+)`).FindAllSubmatch(out, -1) {
		names = append(names, string(m[1]))
	}
	if len(names) == 0 {
		t.Fatalf("cofferd %s --help names no flags", command)
	}
	return names
}

// text returns a file of this folder.
func text(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// exists reports whether there is something at the path.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// check lets the program look at something, if it is installed.
func check(t *testing.T, name string, args ...string) {
	t.Helper()
	program, err := exec.LookPath(name)
	if err != nil {
		t.Logf("%s is not installed: it was not asked", name)
		return
	}
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", name, err, out)
	}
}

// TestVariables looks for a flag behind each variable that a file here gives to a node.
func TestVariables(t *testing.T) {
	known := flags(t, "serve")
	variable := regexp.MustCompile(`COFFERD_[A-Z_]+`)
	found := 0
	err := filepath.WalkDir(".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasSuffix(name, "_test.go") {
			return err
		}
		for _, v := range variable.FindAllString(text(t, name), -1) {
			found++
			flag := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(v, "COFFERD_"), "_", "-"))
			if !slices.Contains(known, flag) {
				t.Errorf("%s: %s stands for no flag of cofferd", name, v)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if found == 0 {
		t.Error("no variable was found")
	}
}

// TestPage looks for every flag of every command on the page for operators, and for every flag of that page in a command.
func TestPage(t *testing.T) {
	page := text(t, "../doc/operating.md")
	known := []string{"profile", "format"} // of other programs
	for _, command := range []string{"serve", "check", "stats", "backup", "restore"} {
		of := flags(t, command)
		known = append(known, of...)
		for _, flag := range of {
			if flag != "help" && !strings.Contains(page, "--"+flag) {
				t.Errorf("doc/operating.md says nothing of cofferd %s --%s", command, flag)
			}
		}
	}
	for _, m := range regexp.MustCompile("cofferd[^|`\n]*").FindAllString(page, -1) {
		for _, flag := range regexp.MustCompile(`--([a-z][a-z-]*)`).FindAllStringSubmatch(m, -1) {
			if !slices.Contains(known, flag[1]) {
				t.Errorf("doc/operating.md says %q, which no command has", flag[0])
			}
		}
	}
	for _, name := range alertNames(t) {
		if !strings.Contains(page, name) {
			t.Errorf("doc/operating.md does not say what to do about %s", name)
		}
	}
}

// TestContainerfile checks that what the image is made of is there, and that the program can be built as it says.
func TestContainerfile(t *testing.T) {
	file := regexp.MustCompile(`(?m)^\s*#.*\n|\\\n`).ReplaceAllString(text(t, "Containerfile"), "")
	var in []string // files of the image
	builds, user := 0, ""
	for line := range strings.Lines(file) {
		instruction, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		args := strings.Fields(rest)
		from := ""
		for len(args) > 0 && strings.HasPrefix(args[0], "--") && instruction == "COPY" {
			if stage, ok := strings.CutPrefix(args[0], "--from="); ok {
				from = stage
			}
			args = args[1:]
		}
		switch instruction {
		case "COPY":
			if len(args) < 2 {
				t.Fatalf("%q copies nothing", line)
			}
			sources, to := args[:len(args)-1], args[len(args)-1]
			for _, s := range sources {
				if from == "" && !exists(filepath.Join("..", s)) {
					t.Errorf("there is no %s to copy", s)
				}
				if from != "" && strings.HasSuffix(to, "/") {
					in = append(in, to+filepath.Base(s))
				} else if from != "" {
					in = append(in, to)
				}
			}
		case "RUN":
			before, build, ok := strings.Cut(rest, "go build ")
			if !ok {
				continue
			}
			builds++
			if !strings.Contains(before, "CGO_ENABLED=0") {
				t.Error("the program is not static")
			}
			// As it says, but without the work.
			cmd := exec.Command("sh", "-c", before+"go build -n "+strings.Replace(build, "-o /out/", "-o "+t.TempDir()+"/", 1))
			cmd.Dir = ".."
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", rest, err, out)
			}
		case "USER":
			user = rest
		case "ENTRYPOINT", "HEALTHCHECK":
			var run []string
			if err := json.Unmarshal([]byte(rest[strings.Index(rest, "["):]), &run); err != nil || !slices.Contains(in, run[0]) {
				t.Errorf("%s runs %q (%v), which is not in the image", instruction, run, err)
			}
		case "VOLUME":
			if !slices.Contains(in, rest) {
				t.Errorf("%s is not in the image", rest)
			}
		}
	}
	if builds != 1 || user == "" || strings.HasPrefix(user, "0") || strings.HasPrefix(user, "root") {
		t.Errorf("%d builds; it runs as %q", builds, user)
	}
}

// TestService checks the unit of systemd, with systemd itself where it is installed.
func TestService(t *testing.T) {
	const name = "cofferd.service"
	values := make(map[string][]string)
	section := ""
	for line := range strings.Lines(text(t, name)) {
		line = strings.TrimSpace(line)
		key, value, ok := strings.Cut(line, "=")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			section = line
		case !ok || section == "":
			t.Errorf("%q", line)
		default:
			values[section+key] = append(values[section+key], value)
		}
	}
	const service = "[Service]"
	for key, want := range map[string]string{
		"NoNewPrivileges": "yes", "ProtectSystem": "strict", "Restart": "on-failure", "StateDirectory": "cofferd",
	} {
		if got := values[service+key]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s is %q", key, got)
		}
	}
	for _, key := range []string{"User", "MemoryMax", "LimitNOFILE"} {
		if len(values[service+key]) != 1 {
			t.Errorf("%s is not set", key)
		}
	}
	start := strings.Fields(strings.Join(values[service+"ExecStart"], " "))
	if len(start) != 2 || filepath.Base(start[0]) != "cofferd" || start[1] != "serve" {
		t.Fatalf("it starts %q", start)
	}
	// systemd looks for the program, too.
	unit := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(unit, []byte(strings.Replace(text(t, name), start[0], cofferd(t), 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	check(t, "systemd-analyze", "verify", "--man=no", unit)
}

// A composition is what compose.yaml says, as far as it matters here.
type composition struct {
	Services map[string]service
	Volumes  map[string]any
	Configs  map[string]any
}

type service struct {
	Image       string
	Ports       []string
	Volumes     []string
	Environment map[string]string
	Profiles    []string
	Configs     []struct{ Source string }
	Healthcheck map[string]any
	DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
	Others      map[string]any                        `yaml:",inline"`
}

func compose(t *testing.T) (c composition) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text(t, "compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Services) == 0 {
		t.Fatal("compose.yaml has no services")
	}
	return c
}

// parameter is a variable of compose.yaml: its name, and what stands behind it.
var parameter = regexp.MustCompile(`\$\{([A-Z0-9_]+)(:[-?][^}]*)?\}`)

// TestCompose checks that the services that each other needs are there, and that no secret has a default.
func TestCompose(t *testing.T) {
	c := compose(t)
	for name, s := range c.Services {
		if _, tag, ok := strings.Cut(filepath.Base(s.Image), ":"); s.Image != "coffer/cofferd" && (!ok || tag == "latest") {
			t.Errorf("%s: which version is %s?", name, s.Image)
		}
		for on, how := range s.DependsOn {
			other, ok := c.Services[on]
			if !ok {
				t.Errorf("%s waits for %s, which is none", name, on)
			}
			if how.Condition == "service_healthy" && other.Healthcheck == nil {
				t.Errorf("%s waits for %s to be healthy, which is not checked", name, on)
			}
			// What a service waits for must come with it.
			for _, p := range other.Profiles {
				if !slices.Contains(s.Profiles, p) {
					t.Errorf("%s waits for %s, which comes with profile %s only", name, on, p)
				}
			}
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			_, declared := c.Volumes[from]
			if strings.HasPrefix(from, "./") {
				declared = exists(from)
			}
			if !declared && from != "/" {
				t.Errorf("%s: there is no %s", name, from)
			}
		}
		for _, cfg := range s.Configs {
			if _, ok := c.Configs[cfg.Source]; !ok {
				t.Errorf("%s: there is no %s", name, cfg.Source)
			}
		}
		for _, p := range s.Ports {
			if name != "proxy" && !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s can be reached from elsewhere at %s", name, p)
			}
		}
	}
	example := text(t, "example.env")
	for _, m := range parameter.FindAllStringSubmatch(text(t, "compose.yaml"), -1) {
		name, rest := m[1], m[2]
		if regexp.MustCompile("PASSWORD|SECRET|KEY").MatchString(name) && strings.HasPrefix(rest, ":-") && len(rest) > 2 {
			t.Errorf("%s has a default", name)
		}
		if !strings.HasPrefix(rest, ":-") && !regexp.MustCompile("(?m)^"+name+"=$").MatchString(example) {
			t.Errorf("example.env has no empty %s", name)
		}
	}
}

// TestNode runs a node with the environment that it has by the image and by compose.yaml, on real servers, and scrapes it:
// every metric that is watched is there, with the labels that it is asked for.
func TestNode(t *testing.T) {
	database, bucket := servers.Database(t), servers.Bucket(t)
	values := map[string]string{
		"COFFERD_DATA": filepath.Join(t.TempDir(), "data"), "COFFERD_LISTEN": "127.0.0.1:0",
		"COFFERD_STORE": database + "?sslmode=disable", "COFFERD_BLOBS": bucket, "COFFERD_LOG": "json",
	}
	var env []string
	for name, value := range compose(t).Services["node"].Environment {
		if _, ours := values[name]; ours || strings.HasPrefix(name, "AWS_") {
			continue
		}
		values[name] = parameter.ReplaceAllStringFunc(value, func(p string) string {
			if m := parameter.FindStringSubmatch(p); strings.HasPrefix(m[2], ":-") {
				return m[2][2:]
			}
			return "https://vault.example"
		})
	}
	for name, value := range values {
		env = append(env, name+"="+value)
	}
	base := "http://" + start(t, env)
	_ = get(t, base+"/.well-known/coffer")
	var exported map[string][]string
	// What the store holds is counted beside the requests.
	for end := time.Now().Add(30 * time.Second); exported["coffer_store_documents"] == nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("what the store holds is not exported")
		}
		exported = samples(get(t, base+"/metrics"))
	}
	for where, expressions := range map[string][]string{
		"grafana.json": dashboard(t), "alerts.yaml": alertExpressions(t),
	} {
		for _, e := range expressions {
			for _, s := range selectors(e) {
				if s.metric == "up" || strings.HasPrefix(s.metric, "node_") { // Prometheus's own, and node_exporter's
					continue
				}
				labels, ok := exported[s.metric]
				if !ok {
					t.Errorf("%s asks for %s, which no node exports", where, s.metric)
				}
				for _, l := range s.labels {
					if ok && l != "instance" && l != "job" && !slices.Contains(labels, l) {
						t.Errorf("%s asks for label %s of %s, which has %q", where, l, s.metric, labels)
					}
				}
			}
		}
	}
}

// start starts cofferd with just this environment, and returns the address at which it listens. It is stopped at the end
// of the test.
func start(t *testing.T, env []string) (address string) {
	t.Helper()
	// The origin is another one than the address, which only the kernel knows: so it listens at one that was free.
	for i, v := range env {
		if v == "COFFERD_LISTEN=127.0.0.1:0" {
			address = free(t)
			env[i] = "COFFERD_LISTEN=" + address
		}
	}
	cmd := exec.Command(cofferd(t), "serve")
	var log bytes.Buffer
	cmd.Env, cmd.Stderr = env, &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slow := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "listening on ") {
		cmd.Process.Kill()
		cmd.Wait()
		t.Fatalf("cofferd said %q (%v), and in its log:\n%s", line, err, log.String())
	}
	slow.Stop()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		slow := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
		defer slow.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("cofferd did not end well: %v\n%s", err, log.String())
		}
	})
	return address
}

// get returns what there is at the URL.
func get(t *testing.T, url string) []byte {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, answer.Status, err)
	}
	return b
}

// samples returns the names of what is exported, with the names of their labels.
func samples(exposition []byte) map[string][]string {
	found := make(map[string][]string)
	for line := range strings.Lines(string(exposition)) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		name, rest, _ := strings.Cut(line, " ")
		if n, labels, ok := strings.Cut(line, "{"); ok && len(n) < len(name) {
			name, rest = n, labels
		}
		found[name] = []string{}
		for _, m := range regexp.MustCompile(`([a-z_]+)="`).FindAllStringSubmatch(rest, -1) {
			found[name] = append(found[name], m[1])
		}
	}
	return found
}

// A selector is a metric of an expression, with the labels that it is asked for.
type selector struct {
	metric string
	labels []string
}

// selectors returns those of an expression of PromQL, as far as the files here use it.
func selectors(expression string) (all []selector) {
	var by []string
	for _, m := range regexp.MustCompile(`\bby \(([a-z, ]+)\)`).FindAllStringSubmatch(expression, -1) {
		for label := range strings.SplitSeq(m[1], ",") {
			by = append(by, strings.TrimSpace(label))
		}
	}
	bare := regexp.MustCompile(`\bby \([a-z, ]+\)|\blabel_values\(|\[[^\]]*\]`).ReplaceAllString(expression, " ")
	for _, m := range regexp.MustCompile(`([a-z_]+)(\s*\()?(?:\{([^}]*)\})?("?)`).FindAllStringSubmatch(
		regexp.MustCompile(`,\s*instance\)`).ReplaceAllString(bare, ")"), -1) {
		if m[2] != "" || m[1] == "or" || m[1] == "and" {
			continue
		}
		s := selector{metric: m[1], labels: by}
		for _, l := range regexp.MustCompile(`([a-z_]+)\s*[=!]`).FindAllStringSubmatch(m[3], -1) {
			s.labels = append(slices.Clone(s.labels), l[1])
		}
		all = append(all, s)
	}
	return all
}

// TestSelectors proves that what is asked for is seen.
func TestSelectors(t *testing.T) {
	got := fmt.Sprint(selectors(`histogram_quantile(0.9, sum by (le, route) (rate(a_bucket{x=~"y", z!="1"}[5m]))) > 0.1 * b or c_d < 5`))
	if want := "[{a_bucket [le route x z]} {b [le route]} {c_d [le route]}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// dashboard returns the expressions of the dashboard.
func dashboard(t *testing.T) (expressions []string) {
	t.Helper()
	var d struct {
		UID, Title string
		Templating struct{ List []struct{ Definition string } }
		Panels     []struct {
			ID      int
			Type    string
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(text(t, "grafana.json")), &d); err != nil {
		t.Fatal(err)
	}
	for _, v := range d.Templating.List {
		if v.Definition != "" {
			expressions = append(expressions, v.Definition)
		}
	}
	ids := make(map[int]bool)
	for i, p := range d.Panels {
		if p.Title == "" || ids[p.ID] || (len(p.Targets) == 0) != (p.Type == "row") || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %d, %q", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, q := range d.Panels[:i] {
			a, b := p.GridPos, q.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("panels %q and %q overlap", p.Title, q.Title)
			}
		}
		for _, q := range p.Targets {
			expressions = append(expressions, q.Expr)
		}
	}
	if len(expressions) == 0 || d.UID == "" || d.Title == "" {
		t.Error("the dashboard shows nothing")
	}
	return expressions
}

type rules struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert, Expr, For    string
			Labels, Annotations map[string]string
		}
	}
}

func alerts(t *testing.T) (r rules) {
	t.Helper()
	d := yaml.NewDecoder(strings.NewReader(text(t, "alerts.yaml")))
	d.KnownFields(true)
	if err := d.Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

func alertNames(t *testing.T) (names []string) {
	for _, g := range alerts(t).Groups {
		for _, r := range g.Rules {
			names = append(names, r.Alert)
		}
	}
	return names
}

func alertExpressions(t *testing.T) (expressions []string) {
	for _, g := range alerts(t).Groups {
		for _, r := range g.Rules {
			expressions = append(expressions, r.Expr)
		}
	}
	return expressions
}

// TestAlerts checks the rules, and what Prometheus is told to scrape, with Prometheus's own tool where it is installed.
func TestAlerts(t *testing.T) {
	seen := make(map[string]bool)
	for _, g := range alerts(t).Groups {
		for _, r := range g.Rules {
			severity := r.Labels["severity"]
			if r.Alert == "" || seen[r.Alert] || r.Annotations["summary"] == "" ||
				severity != "warning" && severity != "critical" {
				t.Errorf("%+v", r)
			}
			if _, err := time.ParseDuration(r.For); err != nil && r.For != "" {
				t.Errorf("%s: %v", r.Alert, err)
			}
			seen[r.Alert] = true
		}
	}
	var p struct {
		Files []string `yaml:"rule_files"`
		Jobs  []struct {
			Name   string                       `yaml:"job_name"`
			Static []struct{ Targets []string } `yaml:"static_configs"`
			DNS    []struct{ Names []string }   `yaml:"dns_sd_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(text(t, "prometheus.yaml")), &p); err != nil {
		t.Fatal(err)
	}
	for _, f := range p.Files {
		if !exists(f) {
			t.Errorf("there is no %s", f)
		}
	}
	services := compose(t).Services
	for _, j := range p.Jobs {
		var hosts []string
		for _, s := range j.Static {
			hosts = append(hosts, s.Targets...)
		}
		for _, d := range j.DNS {
			hosts = append(hosts, d.Names...)
		}
		for _, h := range hosts {
			host, _, _ := strings.Cut(h, ":")
			if _, ok := services[host]; !ok {
				t.Errorf("job %s: there is no service %s", j.Name, host)
			}
		}
	}
	for _, e := range alertExpressions(t) {
		for _, m := range regexp.MustCompile(`job="([^"]+)"`).FindAllStringSubmatch(e, -1) {
			if !strings.Contains(text(t, "prometheus.yaml"), "job_name: "+m[1]) {
				t.Errorf("there is no job %s", m[1])
			}
		}
	}
	check(t, "promtool", "check", "config", "prometheus.yaml")
}

// TestCaddyfile checks that the proxy knows the nodes, with Caddy itself where it is installed.
func TestCaddyfile(t *testing.T) {
	file := text(t, "Caddyfile")
	services := compose(t).Services
	upstreams := regexp.MustCompile(`([a-z]+):4747`).FindAllStringSubmatch(file, -1)
	for _, m := range upstreams {
		if _, ok := services[m[1]]; !ok {
			t.Errorf("there is no service %s", m[1])
		}
	}
	if len(upstreams) != 2 || strings.Count(file, "{") != strings.Count(file, "}") {
		t.Errorf("%d nodes", len(upstreams))
	}
	t.Setenv("COFFER_ORIGIN", "https://vault.example")
	check(t, "caddy", "validate", "--adapter", "caddyfile", "--config", "Caddyfile")
}

// free returns an address that was free a moment ago.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
