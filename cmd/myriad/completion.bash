# Completion of myriad for bash.
__myriad_complete() {
	local answer
	mapfile -t answer < <(myriad __bash "${COMP_LINE:0:COMP_POINT}" "$2" 2>/dev/null)
	COMPREPLY=("${answer[@]:1}")
	case ${answer[0]} in *nospace*) compopt -o nospace ;; esac
	case ${answer[0]} in *files*) compopt -o default ;; esac
}
complete -F __myriad_complete myriad
