/** What `<ask-bot>` says in Korean; fetched where it is wanted. */
export const KOREAN = {
  log: "대화", field: "질문을 입력하세요", send: "보내기", stop: "중지", retry: "다시 질문하기", earlier: "이전 대화 보기",
  fresh: "새 대화", connecting: "연결하는 중", closed: "연결이 끊겼습니다", sending: "아직 보내지 못했습니다", waiting: "답변을 기다리는 중",
  answering: "답변하는 중", done: "답변이 끝났습니다", cancelled: "중지되었습니다", length: "길이 제한에서 잘렸습니다",
  refused: "거절되었습니다", interrupted: "중단되었습니다", error: "실패했습니다",
};
