"""Network access: the overall time limit of a conversation (`deadline`), and one HTTP request (`http`)."""
