import ArgumentParser

/// The scripts that teach a shell to ask `cortex __complete`. All that is known of commands and names is in the
/// program, so a script never grows old.
enum CompletionScript: String, CaseIterable, ExpressibleByArgument, Sendable {
    case bash, zsh, fish

    var text: String {
        switch self {
        case .bash: Self.bashText
        case .zsh: Self.zshText
        case .fish: Self.fishText
        }
    }

    private static let bashText = #"""
        # shellcheck shell=bash
        # Completion of cortex for bash. Load it with: source <(cortex completion bash)
        _cortex_complete() {
          local program=$1 current=${COMP_WORDS[COMP_CWORD]} how value extension pattern=
          COMPREPLY=()
          {
            read -r how
            case $how in
              files*)
                for extension in ${how#files}; do pattern+="${pattern:+|}*.$extension"; done
                compopt -o filenames 2>/dev/null
                current=${current#[=@]}
                if [[ -n $pattern ]]; then
                  shopt -q extglob || { shopt -s extglob; local restore=1; }
                  mapfile -t COMPREPLY < <(compgen -f -X "!@($pattern)" -- "$current"; compgen -d -- "$current")
                  [[ -z ${restore-} ]] || shopt -u extglob
                else
                  mapfile -t COMPREPLY < <(compgen -f -- "$current")
                fi
                ;;
              folders)
                compopt -o filenames 2>/dev/null
                mapfile -t COMPREPLY < <(compgen -d -- "${current#=}")
                ;;
              values)
                while IFS=$'\t' read -r value _; do COMPREPLY+=("$value"); done
                ;;
            esac
          } < <("$program" __complete line "$COMP_LINE" "$COMP_POINT" "$current" 2>/dev/null)
        }
        complete -o nosort -F _cortex_complete cortex 2>/dev/null || complete -F _cortex_complete cortex
        complete -o nosort -F _cortex_complete cx 2>/dev/null || complete -F _cortex_complete cx
        """#

    private static let zshText = #"""
        #compdef cortex cx
        # Completion of cortex for zsh. Load it with: source <(cortex completion zsh)
        # or write it to a file _cortex in a folder of $fpath.
        _cortex() {
          local -a answer candidates typed
          local how line value
          typed=("${(@Q)words[1,CURRENT]}")
          answer=("${(@f)$("${typed[1]}" __complete words "${typed[@]}" 2>/dev/null)}")
          how=${answer[1]}
          case $how in
            files*)
              compset -P '*='
              compset -P '@'
              local -a extensions=(${=how#files})
              if (( ${#extensions} )); then _files -g "*.(${(j:|:)extensions})"; else _files; fi
              ;;
            folders)
              compset -P '*='
              _files -/
              ;;
            values)
              for line in "${(@)answer[2,-1]}"; do
                value=${line%%$'\t'*}
                if [[ $line == *$'\t'* ]]; then
                  candidates+=("${value//:/\\:}:${line#*$'\t'}")
                else
                  candidates+=("${value//:/\\:}")
                fi
              done
              _describe -V 'cortex' candidates
              ;;
          esac
        }
        if [[ ${funcstack[1]-} == _cortex ]]; then _cortex "$@"; else compdef _cortex cortex cx; fi
        """#

    private static let fishText = #"""
        # Completion of cortex for fish. Load it with: cortex completion fish | source
        function __cortex_complete
            set -l words (commandline -opc)
            set -l current (commandline -ct)
            set -l answer ($words[1] __complete words $words "$current" 2>/dev/null)
            switch "$answer[1]"
                case 'files*'
                    set -l lead (string match -r -- '^(?:--[^=]*=)?@?' "$current")
                    for path in (__fish_complete_path (string replace -- "$lead" '' "$current"))
                        echo -- $lead$path
                    end
                case folders
                    __fish_complete_directories (string replace -r -- '^--[^=]*=' '' "$current") ''
                case values
                    for line in $answer[2..-1]
                        echo -- $line
                    end
            end
        end
        for name in cortex cx
            complete -c $name -e
            complete -c $name -f -k -a '(__cortex_complete)'
        end
        """#
}
