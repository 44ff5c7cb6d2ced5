import ArgumentParser
import Core

struct CompletionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "completion",
        abstract: "Print a completion script for bash, zsh or fish.",
        discussion: """
            It completes commands, options, files, and the names of APIs, versions,
            replicas, containers, requests and environments.

            Examples:
              source <(cortex completion bash)        in ~/.bashrc
              source <(cortex completion zsh)         in ~/.zshrc, after compinit
              cortex completion fish | source         in ~/.config/fish/config.fish
            """)

    @Argument(help: "The shell.")
    var shell: CompletionScript

    func run() async throws {
        try CommandContext.live().console.print(shell.text)
    }
}

/// The scripts that the argument parser generates, and around them what those do not know: shortened verbs,
/// `help VERB`, `--option=value`, `@file` and the program's other name `cx`.
enum CompletionScript: String, CaseIterable, ExpressibleByArgument, Sendable {
    case bash, zsh, fish

    var text: String {
        switch self {
        case .bash:
            // Its first line is for a script that is run; this one is sourced.
            let generated = CortexCommand.completionScript(for: .bash).replacing("#!/bin/bash\n", with: "")
            return "# shellcheck shell=bash\n" + generated + "\n\n" + Self.bashAddition
        case .zsh:
            // Its last statement runs the function; the one that replaces it runs the addition.
            let generated = CortexCommand.completionScript(for: .zsh)
            let end = generated.ranges(of: "\nif [[ ").last?.lowerBound ?? generated.endIndex
            return generated[..<end].replacing("#compdef cortex\n", with: "#compdef cortex cx\n")
                .replacing(Self.zshOffer, with: Self.zshWeightOffer + Self.zshOffer) + "\n" + Self.zshAddition
        case .fish:
            return CortexCommand.completionScript(for: .fish).replacing("case 'cortex'\n", with: "case cortex cx\n")
                + "\n\n" + Self.fishAddition
        }
    }

    private static let verbs =
        (CortexCommand.configuration.subcommands.filter { $0.configuration.shouldDisplay }.map { $0._commandName }
        + ["help"]).joined(separator: " ")

    static let bashAddition = #"""
        # Only paths are marked as file names: an API may have the name of a folder.
        __cortex_add_completions() {
          local completion
          [[ $1 == -W ]] || compopt -o filenames 2>/dev/null
          # shellcheck disable=SC2154
          while IFS= read -r completion; do COMPREPLY+=("$completion"); done < <(IFS=$'\n' compgen "$@" -- "$cur")
        }

        # Gives _cortex the words as the program gets them: bash ends words also at `=`, `:` and `@`.
        _cortex_words() {
          local rest=${COMP_LINE:0:COMP_POINT} part=$2 word lead offered='' path
          local -a words=() found
          for word in "${COMP_WORDS[@]:0:COMP_CWORD}"; do
            if ((${#words[@]} > 0)) && [[ $rest != [[:space:]]* ]]; then words[-1]+=$word; else words+=("$word"); fi
            rest=${rest#"${rest%%[![:space:]]*}"}
            rest=${rest#"$word"}
          done
          if [[ $rest == [[:space:]]* ]]; then words+=("${rest#"${rest%%[![:space:]]*}"}"); else words[-1]+=$rest; fi
          ((${#words[@]} > 2)) && [[ ${words[1]} == help ]] && words=("${words[0]}" "${words[@]:2}")
          if ((${#words[@]} > 2)); then
            mapfile -t found < <(compgen -W '\#(verbs)' -- "${words[1]}")
            ((${#found[@]} == 1)) && words[1]=${found[0]}
          fi
          word=${words[-1]}
          [[ $word == [\"\']* ]] && word=$part
          # The beginning of the word that bash leaves as it is.
          lead=${word%"$part"}
          if [[ $word == --*=* ]]; then
            offered=${word%%=*}=
            word=${word#*=}
            words[-1]=${offered%=}
            words+=("$word")
          fi
          COMPREPLY=()
          if [[ $word == @* ]]; then
            offered+=@
            while IFS= read -r path; do
              [[ -d $path ]] && path+=/ && compopt -o nospace 2>/dev/null
              COMPREPLY+=("$(printf %q "$path")")
            done < <(compgen -f -- "${word#@}")
          else
            local COMP_CWORD=$((${#words[@]} - 1)) COMP_LINE="${words[*]}"
            local -a COMP_WORDS=("${words[@]}")
            local COMP_POINT=${#COMP_LINE}
            _cortex "$1" "$word" "${words[-2]}"
          fi
          # The weight of a target follows its name without a space.
          [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace 2>/dev/null
          COMPREPLY=("${COMPREPLY[@]/#/"$offered"}")
          COMPREPLY=("${COMPREPLY[@]#"$lead"}")
        }
        complete -o nosort -F _cortex_words cortex cx 2>/dev/null || complete -F _cortex_words cortex cx
        """#

    /// What the generated script offers names with.
    private static let zshOffer = "    _describe -V '' non_empty_completions -- "

    /// The weight of a target follows its name without a space.
    private static let zshWeightOffer = #"""
            if [[ ${non_empty_completions[1]-} == *=(|:*) ]]; then
                _describe -V '' non_empty_completions -S ''
                return
            fi

        """#

    private static let zshAddition = #"""
        functions[_cortex_generated]=${functions[_cortex]}
        _cortex() {
          local -a verbs=(\#(verbs)) found
          if (( CURRENT > 2 )) && [[ ${words[2]} == help ]]; then words[2]=(); (( CURRENT-- )); fi
          if (( CURRENT > 2 )); then
            found=(${(M)verbs:#${words[2]}*})
            (( $#found == 1 )) && words[2]=${found[1]}
          fi
          if [[ ${words[CURRENT]} == --*=* ]]; then
            words[CURRENT]=("${words[CURRENT]%%=*}" "${words[CURRENT]#*=}")
            (( CURRENT++ ))
            compset -P '*='
          fi
          if compset -P '@'; then _files; else _cortex_generated "$@"; fi
        }
        if [[ ${funcstack[1]-} == _cortex ]]; then _cortex "$@"; else compdef _cortex cortex cx; fi
        """#

    private static let fishAddition = #"""
        function __cortex_payload
            set -l word (commandline -ct | string replace -r -- '^--[^=]*=' '')
            string match -q -- '@*' $word; or return
            for path in (__fish_complete_path (string sub -s 2 -- $word))
                echo @$path
            end
        end
        complete -c cortex -n '__fish_seen_subcommand_from submit call' -s d -l data -rfka '(__cortex_payload)'
        complete -c cortex -n '__cortex_should_offer_completions_for_positional "cortex help" -eq 1' -fka '\#(verbs)'
        complete -c cx -w cortex
        """#
}
