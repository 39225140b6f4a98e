package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Run writes a script that completes subcommands and flags in the shell, and files where neither fits.
func (c *completionCommand) Run(p *program, parser *kong.Kong) error {
	var script string
	switch c.Shell {
	case "bash":
		script = bashCompletion(parser.Model.Node)
	case "zsh":
		script = "#compdef coffer\nautoload -U +X bashcompinit && bashcompinit\n" + bashCompletion(parser.Model.Node)
	case "fish":
		script = fishCompletion(parser.Model.Node)
	}
	_, err := fmt.Fprint(p.stdout, script)
	return err
}

// bashCompletion returns the script for bash, which zsh understands, too.
func bashCompletion(root *kong.Node) string {
	var names []string
	var cases strings.Builder
	for _, command := range root.Children {
		names = append(names, command.Name)
		if len(command.Children) == 0 {
			fmt.Fprintf(&cases, "\t\t%s) words=%q ;;\n", command.Name, strings.Join(flagNames(command), " "))
			continue
		}
		var below []string
		for _, c := range command.Children {
			below = append(below, c.Name)
			fmt.Fprintf(&cases, "\t\t\"%s %s\") words=%q ;;\n", command.Name, c.Name, strings.Join(flagNames(c), " "))
		}
		fmt.Fprintf(&cases, "\t\t%s) words=%q; more=1 ;;\n", command.Name,
			strings.Join(append(below, flagNames(command)...), " "))
	}
	return fmt.Sprintf(`# Completion of coffer for bash: source <(coffer completion bash)
_coffer() {
	local word="${COMP_WORDS[COMP_CWORD]}" command="" words="" more="" i
	for ((i = 1; i < COMP_CWORD; i++)); do
		case "${COMP_WORDS[i]}" in
		--profile | --passphrase-file) ((i++)) ;;
		-*) ;;
		*)
			case "$command" in
			"") command="${COMP_WORDS[i]}" ;;
			%s) command+=" ${COMP_WORDS[i]}" ;;
			esac
			;;
		esac
	done
	case "$command" in
		"") words=%q; more=1 ;;
%s	esac
	COMPREPLY=()
	if [[ -n "$more" || "$word" == -* ]]; then
		COMPREPLY=($(compgen -W "$words" -- "$word"))
	fi
}
complete -o default -F _coffer coffer
`, parents(root), strings.Join(append(names, flagNames(root)...), " "), cases.String())
}

// parents returns the names of the commands that have others below them, as a pattern of bash.
func parents(root *kong.Node) string {
	var names []string
	for _, command := range root.Children {
		if len(command.Children) > 0 {
			names = append(names, command.Name)
		}
	}
	return strings.Join(names, " | ")
}

// fishCompletion returns the script for fish.
func fishCompletion(root *kong.Node) string {
	var b strings.Builder
	b.WriteString("# Completion of coffer for fish: coffer completion fish | source\n")
	for _, f := range root.Flags {
		b.WriteString("complete -c coffer" + fishFlag(f))
	}
	for _, command := range root.Children {
		fmt.Fprintf(&b, "complete -c coffer -n __fish_use_subcommand -a %s -d %s\n", command.Name, fishQuote(command.Help))
		for _, f := range command.Flags {
			fmt.Fprintf(&b, "complete -c coffer -n '__fish_seen_subcommand_from %s'%s", command.Name, fishFlag(f))
		}
		for _, c := range command.Children {
			fmt.Fprintf(&b, "complete -c coffer -n '__fish_seen_subcommand_from %s' -a %s -d %s\n", command.Name, c.Name,
				fishQuote(c.Help))
			for _, f := range c.Flags {
				fmt.Fprintf(&b, "complete -c coffer -n '__fish_seen_subcommand_from %s; and __fish_seen_subcommand_from %s'%s",
					command.Name, c.Name, fishFlag(f))
			}
		}
	}
	return b.String()
}

func fishFlag(f *kong.Flag) string {
	s := " -l " + f.Name
	if f.Short != 0 {
		s += " -s " + string(f.Short)
	}
	if !f.IsBool() {
		s += " -r"
	}
	return s + " -d " + fishQuote(f.Help) + "\n"
}

// fishQuote returns s as fish reads it back.
func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// flagNames returns a command's flags, with those of the program as a whole.
func flagNames(command *kong.Node) (names []string) {
	for _, group := range command.AllFlags(true) {
		for _, f := range group {
			names = append(names, "--"+f.Name)
			if f.Short != 0 {
				names = append(names, "-"+string(f.Short))
			}
		}
	}
	return names
}
